"""Degradation for training: images per second and core, beside a plain version of the same operations.

python bench/degradation_speed.py [--table realesrgan] [--crop 256] [--batch 8] [--rounds 5] [--json FILE]

The plain version (`bench/plain_degradation.py`) is NumPy and Pillow, an image at a time, as recipes of the field do on
the host. Each round takes other seeds. Leaves with 1 where ours is less than three times as fast.
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import count, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.measuring import heading, in_turn, machine, table, write_json
from bench.plain_degradation import degrade_plainly
from sdsr.data.degradation import degradation, degrade

LEAST = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="realesrgan")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shape = (arguments.batch, arguments.crop, arguments.crop, 3)
    plain = np.random.default_rng(0).random(shape, np.float32)
    images = torch.from_numpy(np.moveaxis(plain, -1, 1).copy())
    settings = degradation(arguments.table)
    ours, theirs = (batches(arguments.batch) for _ in range(2))
    rows = {
        "sdsr": lambda: degrade(images, settings, next(ours)),
        "plain": lambda: [degrade_plainly(*pair) for pair in zip(plain, repeat(settings), next(theirs))],
    }
    timings = in_turn(rows, arguments.rounds)
    rates = {name: arguments.batch / timing.cpu for name, timing in timings.items()}
    told: dict[str, Any] = {"machine": machine(), "table": arguments.table, "images per second and core": rates}
    print(f"{arguments.table}, {arguments.crop} px, {heading(told['machine'])}\n")
    print(table(["version", "images/s per core", "ratio"], [[n, r, r / rates["plain"]] for n, r in rates.items()]))
    write_json(arguments.json, told)
    sys.exit(rates["sdsr"] < LEAST * rates["plain"])


def batches(size: int) -> Iterator[range]:
    """Yield the seeds of one batch after another."""
    return (range(first, first + size) for first in count(0, size))


if __name__ == "__main__":
    main()
