"""What all benchmarks share: rows timed in turn, the machine that they were timed on, tables, JSON beside them.

Two times are taken of each run: what a clock on the wall says, and what the process itself kept processors busy,
which other programs lengthen least: on a busy machine, compare that. On an accelerator the second says nothing.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdsr.processor import processor_class, processor_name

_ALMOST_IDLE = 0.1
"""Of a processor's time, below which it is an accelerator that computes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Medians of a row's runs in seconds: by the clock, and of processor time; `fastest` is the clock's least."""

    wall: float
    cpu: float
    fastest: float

    def __truediv__(self, other: "Timing") -> float:
        """Return the ratio of processor times, or of the clock's where an accelerator computes."""
        by_clock = min(self.cpu / self.wall, other.cpu / other.wall) < _ALMOST_IDLE
        return self.wall / other.wall if by_clock else self.cpu / other.cpu


Around = Callable[[], AbstractContextManager[object]]
"""What surrounds a row's runs and doesn't count."""


def in_turn(
    rows: Mapping[str, Callable[[], object]], rounds: int, *, warm: int = 1, around: Mapping[str, Around] | None = None
) -> dict[str, Timing]:
    """Time the rows in turn, after `warm` rounds that don't count."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    surroundings = around or {}
    for index in range(warm + rounds):
        for name, run in rows.items():
            with surroundings.get(name, nullcontext)():
                seconds = timed(run)
            if index >= warm:
                taken[name].append(seconds)
    return {name: _timing(values) for name, values in taken.items()}


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return a run's seconds by the clock and of processor time, an accelerator's work included in the first."""
    cpu = time.process_time()
    wall = time.perf_counter()
    run()
    _wait()
    return time.perf_counter() - wall, time.process_time() - cpu


def _timing(values: Sequence[tuple[float, float]]) -> Timing:
    walls = [wall for wall, _ in values]
    return Timing(wall=statistics.median(walls), cpu=statistics.median(cpu for _, cpu in values), fastest=min(walls))


def _wait() -> None:
    import torch

    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def machine(device: str = "cpu") -> dict[str, Any]:
    """Return what figures depend on: the processor's class and name or the card's, threads, versions."""
    import torch

    card = device.partition(":")[0] == "cuda"
    return {
        "class": "CUDA" if card else processor_class(),
        "name": torch.cuda.get_device_name(device) if card else processor_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def heading(machine: Mapping[str, Any]) -> str:
    """Return the machine in words."""
    return "{class} ({name}), {threads} threads, torch {torch}".format_map(machine)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown; floats are shown in three digits."""
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:.0f}"
        if isinstance(value, float)
        else str(value)
    )


def write_json(path: Path | None, told: Mapping[str, Any]) -> None:
    """Write what a benchmark found to a file, where one is wanted."""
    if path is not None:
        path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
