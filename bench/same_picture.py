"""How far the pictures of each method's fast path are from those in plain float32, in levels of 255.

python bench/same_picture.py [--models d3sr-small ...] [--side 128] [--scale 4] [--decoder PATH] [--json FILE]

The fast path is what this machine decides (`sdsr doctor`); plain is float32, torch's own attention and convolutions,
guidance in two passes. Both begin with the same noise. Leaves with 1 where one is above 1 on average or above 8 at
most.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.latency import sample
from bench.measuring import heading, machine, table, write_json
from bench.running import taking
from sdsr.photos.photo import Photo
from sdsr.prior.condition import Condition
from sdsr.request import Request
from sdsr.upscaling import Upscaler

MODELS = ("d3sr-small", "invsr-small", "addsr-small", "consissr-small", "stablesr-small", "seesr-small")
MOST_MEAN = 1.0
MOST = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--scale", type=float, default=4.0)
    parser.add_argument("--decoder", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    told: dict[str, Any] = {"machine": machine(), "rows": {}}
    print(heading(told["machine"]) + "\n")
    photo = sample(arguments.side)
    for model in arguments.models:
        pair = [
            Upscaler.from_pretrained(model, dtype=dtype, decoder=arguments.decoder) for dtype in (None, torch.float32)
        ]
        told["rows"][model] = compared(pair[0], pair[1], photo, Request(scale=arguments.scale))
    print(table(["model", "mean", "max"], [[name, *row.values()] for name, row in told["rows"].items()]))
    write_json(arguments.json, told)
    sys.exit(any(not (row["mean"] < MOST_MEAN and row["max"] <= MOST) for row in told["rows"].values()))


def compared(fast: Upscaler, plain: Upscaler, photo: Photo, request: Request) -> dict[str, float]:
    """Return mean and largest difference of two upscalers' pictures, the second's computed plainly."""
    one = fast.upscale(photo, request).pixels.astype(int)
    with plainly(plain.restorer.prior.device):
        other = plain.upscale(photo, request).pixels.astype(int)
    difference = np.abs(one - other)
    return {"mean": float(difference.mean()), "max": float(difference.max())}


@contextmanager
def plainly(device: torch.device) -> Iterator[None]:
    """While it lasts, guidance takes two passes, and what a device has a choice of is done as usual."""
    with patch.object(Condition, "joined", lambda self, other, count: None), taking(False, device):
        yield


if __name__ == "__main__":
    main()
