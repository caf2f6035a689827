"""How far results by graphs are from those by torch in float32, photo by photo, in one window and in many.

python bench/parity.py PHOTOS ... [--count 20] [--side 128] [--scale 4] [--engine onnx] [--json FILE]

PHOTOS are folders, shards or files; of each photo the middle is taken. Differences are in levels of 255, of pixels as
they are written. Leaves with 1 where one is above 1.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sdsr.data.photos import open_photos
from sdsr.engines import load_model
from sdsr.jobs import JobMaker
from sdsr.models import DEFAULT_MODEL
from sdsr.photos.files import Photo
from sdsr.request import Request
from sdsr.upscaling import Upscaler

LIMIT = 1
MANY_WINDOWS_PX = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--scale", type=float, default=4.0)
    parser.add_argument("--engine", default="onnx")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    engines = load_model(engine=arguments.engine), in_float32(DEFAULT_MODEL)
    rows = []
    print("| photo | windows | max | mean |\n|---|---|---|---|")
    for name, photo in middles(arguments.photos, arguments.count, arguments.side):
        for many in (False, True):
            rows.append({"photo": name, **compared(engines, photo, arguments.scale, many=many)})
            print("| {photo} | {windows} | {max} | {mean:.4f} |".format_map(rows[-1]), flush=True)
    worst = max(row["max"] for row in rows)
    print(f"\n{len(rows) // 2} photos: at most {worst} of 255.")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(worst > LIMIT)


def in_float32(model: str) -> JobMaker:
    """Return a model by torch on the CPU, in float32 whatever this processor would choose."""
    upscaler = Upscaler.from_pretrained(model, device="cpu")
    prior = upscaler.restorer.prior.adapted(dtype=torch.float32)
    upscaler.restorer = replace(upscaler.restorer, prior=prior)
    return upscaler.maker


def middles(paths: Sequence[Path], count: int, side: int) -> Iterator[tuple[str, Photo]]:
    """Yield the middle of the first `count` photos, `side` wide and high or what a photo has, each with its name."""
    photos = open_photos(paths)
    for index in range(min(count, len(photos))):
        pixels = np.moveaxis(np.asarray(photos[index]), 0, -1)
        top, left = (max(0, (length - side) // 2) for length in pixels.shape[:2])
        middle = np.ascontiguousarray(pixels[top : top + side, left : left + side])
        yield photos.entries[index].key, Photo(pixels=middle)


def compared(engines: Sequence[JobMaker], photo: Photo, scale: float, *, many: bool) -> dict[str, float]:
    """Return how many windows one result has, and the largest and mean difference of the results of two engines."""
    bytes_per_px = engines[0].facts.bytes_per_px
    request = Request(scale=scale, memory_bytes=round(bytes_per_px * MANY_WINDOWS_PX**2) if many else None)
    jobs = [engine.job(photo, request) for engine in engines]
    one, other = (job.run().pixels.astype(int) for job in jobs)
    difference = np.abs(one - other)
    return {"windows": len(jobs[0].windows), "max": int(difference.max()), "mean": float(difference.mean())}


if __name__ == "__main__":
    main()
