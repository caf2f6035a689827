"""The devices that compute here, for `sdsr doctor`: the processor, and what torch finds beside it, where torch is."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import psutil

from sdsr.cli.processors import usable_cores
from sdsr.processor import processor_class, processor_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The processor or an accelerator: its memory, the precision chosen on it, how priors run on it in words, whether
    it is the default."""

    device: str
    name: str
    free_bytes: int
    total_bytes: int
    precision: str = "float32"
    runs: str = "graphs alone, in float32"
    default: bool = True


def devices() -> Iterator[Device]:
    """Yield the processor and accelerators."""
    memory = psutil.virtual_memory()
    name = f"{processor_name() or platform.machine()}, {processor_class()}, {usable_cores()} threads"
    if find_spec("torch") is None:
        yield Device(device="cpu", name=name, free_bytes=memory.available, total_bytes=memory.total)
        return
    import torch

    yield _run_by_torch("cpu", name, memory.available, memory.total)
    for index in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(index)
        yield _run_by_torch(f"cuda:{index}", name, *torch.cuda.mem_get_info(index))
    if torch.backends.mps.is_available():
        yield _run_by_torch("mps", "Apple", memory.available, memory.total)


def _run_by_torch(device: str, name: str, free_bytes: int, total_bytes: int) -> Device:
    import torch

    from sdsr.prior.running import choose_device, running_on

    running = running_on(torch.device(device))
    default = choose_device().type
    return Device(
        device=device,
        name=name,
        free_bytes=free_bytes,
        total_bytes=total_bytes,
        precision=str(running.dtype).removeprefix("torch."),
        runs=running.words,
        default=device in (default, f"{default}:0"),
    )
