"""How far full-size networks are from float32 where they run in what this machine computes in, with random weights.

python bench/rounding.py [--prior sd-2.1-base] [--size 512] [--only decode] [--json FILE]

Rows are what torch does by itself, what was decided, and each choice alone; errors are absolute, in units of the
float32 output's standard deviation, and of a decoded picture in levels of 255, where that deviation is half of
[-1, 1]'s range. Weights are rounded in all rows alike, and count. Random weights exaggerate: no layer of theirs
attenuates what those before it left.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.measuring import heading, machine, table, write_json
from bench.random_weights import store
from bench.running import Work, prepared, taking
from sdsr.prior.running import choose_device, running_on
from sdsr.prior.shapes import SHAPES

LEVELS = 0.5 * 127.5
"""Of 255, in a standard deviation of half of [-1, 1]'s range."""
PARTS = ("decode", "encode", "unet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", default=SHAPES[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = choose_device()
    work = prepared(arguments.prior, arguments.size, device, 1, torch.float32)
    told: dict[str, Any] = {"machine": machine(str(device)), "decided": running_on(device).words, "rows": {}}
    print(f"{arguments.prior}, {arguments.size} px, {heading(told['machine'])}\ndecided: {told['decided']}\n")
    told["rows"] = dict(errors(work, PARTS if arguments.only is None else [arguments.only], device))
    heads = ["part", "mean, std", "max, std", "mean of 255", "max of 255"]
    print(table(heads, [[name, *row.values()] for name, row in told["rows"].items()]))
    write_json(arguments.json, told)


def errors(work: Work, parts: Sequence[str], device: torch.device) -> Iterator[tuple[str, Mapping[str, float | str]]]:
    """Yield the errors of parts' outputs, by how they are computed; weights are rounded from then on."""
    expected = {part: _run(work, part, (False, None), device) for part in parts}
    dtype = running_on(device).dtype
    store(work.prior.modules, dtype)
    rounded = replace(work, prior=replace(work.prior, dtype=dtype))
    for part, plain in expected.items():
        for name, taken in _ways(device).items():
            error = (_run(rounded, part, taken, device) - plain).abs() / plain.std()
            mean, most = float(error.mean()), float(error.max())
            levels = {"mean level": LEVELS * mean, "max level": LEVELS * most}
            shown = levels if part == "decode" else dict.fromkeys(levels, "")
            yield f"{part}, {name}", {"mean": mean, "max": most} | shown


def _ways(device: torch.device) -> Mapping[str, tuple[bool, str | None]]:
    """Whether what a device has a choice of is taken, and which alone."""
    choices = [each.choice.otherwise for each in running_on(device).decisions]
    return {"in the usual way": (False, None)} | {name: (True, name) for name in choices} | {"with all": (True, None)}


def _run(work: Work, part: str, taken: tuple[bool, str | None], device: torch.device) -> Tensor:
    with torch.inference_mode(), taking(taken[0], device, taken[1]):
        output: Any = work.parts[part]()
    return (output if isinstance(output, Tensor) else output.mean).float()


if __name__ == "__main__":
    main()
