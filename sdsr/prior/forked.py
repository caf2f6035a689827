"""Where torch computes in a forked process: it hangs there, waiting for threads that only the parent has."""

import os

import torch

from sdsr.errors import InputError

_began_in: list[int] = []  # the process that computed first; a fork inherits it


def begin_computing(device: torch.device | str | None = None) -> None:
    """Note that this process computes, on a device if that is known.

    Raise InputError where it was forked from one that does: its threads, and accelerators, don't survive a fork. With
    one thread nothing is waited for.
    """
    if not _began_in:
        _began_in.append(os.getpid())
    on_cpu = device is None or torch.device(device).type == "cpu"
    if _began_in[0] == os.getpid() or (on_cpu and torch.get_num_threads() == 1):
        return
    remedy = ", or call torch.set_num_threads(1) in each worker first" if on_cpu else ""
    raise InputError(
        f"process (={os.getpid()}) was forked from one (={_began_in[0]}) in which a model was loaded, and would hang; "
        f'start workers with multiprocessing.get_context("spawn"){remedy}.'
    )
