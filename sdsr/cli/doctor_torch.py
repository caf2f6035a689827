"""The devices that torch computes on, for `sdsr doctor`."""

from collections.abc import Iterator

import psutil
import torch

from sdsr.prior.running import choose_device, running_on

Found = tuple[str, str, int, int, str, str, bool]
"""A device, its name, free and all bytes of its memory, the precision chosen on it, how priors run there,
whether it is the default."""


def devices(processor: str) -> Iterator[Found]:
    """Yield the processor, called so, and accelerators."""
    memory = psutil.virtual_memory()
    yield _found("cpu", processor, memory.available, memory.total)
    for index in range(torch.cuda.device_count()):
        yield _found(f"cuda:{index}", torch.cuda.get_device_name(index), *torch.cuda.mem_get_info(index))
    if torch.backends.mps.is_available():
        yield _found("mps", "Apple", memory.available, memory.total)


def _found(device: str, name: str, free_bytes: int, total_bytes: int) -> Found:
    default = choose_device().type
    running = running_on(torch.device(device))
    precision = str(running.dtype).removeprefix("torch.")
    return device, name, free_bytes, total_bytes, precision, running.words, device in (default, f"{default}:0")
