"""Rows of a benchmark on a card: each timed by the card's own events, guarded, and begun only while there is time."""

import statistics
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import nn

MATRIX_SIDE = 8192
CHANNELS = 256
MAP_SIDE = 256

Result = TypeVar("Result")


@dataclass(slots=True, kw_only=True)
class Rows:
    """What is timed one after another; `seconds` is how long new rows are begun for, `told` what was found of each.

    A row that fails prints its error, and the others go on.
    """

    device: torch.device
    seconds: float
    rounds: int = 10
    warm: int = 3
    told: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    @property
    def left_s(self) -> float:
        return self.seconds - (time.perf_counter() - self.began)

    def attempt(self, name: str, run: Callable[[], Result], *, needs_s: float = 0.0) -> Result | None:
        """Return what a run gives; None where it fails, or where less than `needs_s` seconds are left."""
        if self.left_s < needs_s:
            print(f"{name}: left out, {self.left_s:.0f} s are left of {self.seconds:.0f}\n", flush=True)
            self.told.append({"row": name, "left_out": True})
            return None
        try:
            return run()
        except Exception as error:  # whatever fails on a machine that nobody could try it on
            traceback.print_exc()
            print(f"{name}: FAILED, {type(error).__name__}: {error}\n", flush=True)
            self.told.append({"row": name, "error": f"{type(error).__name__}: {error}"})
            return None

    def time(self, name: str, runs: Mapping[str, Callable[[], object]], **facts: object) -> dict[str, Any] | None:
        """Time the parts of a row, print and keep their medians in ms; None where it fails."""

        def timed() -> dict[str, Any]:
            forget_peak(self.device)
            began = time.perf_counter()
            medians = {part: median_ms(run, self.device, self.rounds, self.warm) for part, run in runs.items()}
            row = {"row": name, "ms": medians, "peak_bytes": peak(self.device), **facts}
            cells = ", ".join(f"{part} {value:.2f}" for part, value in medians.items())
            took = time.perf_counter() - began
            print(f"{name}: {cells} ms; peak {row['peak_bytes'] / 2**30:.2f} GiB; took {took:.1f} s", flush=True)
            self.told.append(row)
            return row

        return self.attempt(name, timed, needs_s=1.0)


def median_ms(run: Callable[[], object], device: torch.device, rounds: int, warm: int = 3) -> float:
    """Return the median of some runs, each begun on an idle device, the launching of it included."""
    for _ in range(warm):
        run()
    taken = []
    for _ in range(rounds):
        if device.type != "cuda":
            began = time.perf_counter()
            run()
            taken.append(1e3 * (time.perf_counter() - began))
            continue
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize(device)
        taken.append(start.elapsed_time(end))
    return statistics.median(taken)


def rates(device: torch.device, dtype: torch.dtype, *, rehearse: bool = False) -> dict[str, float]:
    """Print and return the operations a second of a large product of matrices, and of a decoder's convolution."""
    side, channels, map_side = (64, 8, 16) if rehearse else (MATRIX_SIDE, CHANNELS, MAP_SIDE)
    matrices = [torch.randn(side, side, dtype=dtype, device=device) for _ in range(2)]
    layer = nn.Conv2d(channels, channels, 3, padding=1, dtype=dtype, device=device)
    layer.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (missing in torch's stub)
    maps = torch.randn(1, channels, map_side, map_side, dtype=dtype, device=device)
    maps = maps.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        product = median_ms(lambda: matrices[0] @ matrices[1], device, 10)
        convolution = median_ms(lambda: [layer(maps) for _ in range(10)], device, 10) / 10
    found = {
        "product": 2 * side**3 / (product / 1e3),
        "convolution": 2 * 9 * (channels * map_side) ** 2 / (convolution / 1e3),
    }
    for name, rate in found.items():
        print(f"{name}: {rate / 1e12:.0f} T operations/s")
    print(flush=True)
    return found


def forget_peak(device: torch.device) -> None:
    """Let `peak` count from here on."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> int:
    """Return the most that was allocated on the device; nothing is told of the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
