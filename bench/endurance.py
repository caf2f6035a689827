"""Many photos restored in one process, file to file: whether memory and time stay flat.

python bench/endurance.py [--photos 200] [--side 64] [--scale 4] [--engine onnx] [--json FILE]

The first three tenths, in which buffers grow to what they will be, are left out. Leaves with 1 where memory, by a line
through what each photo left, grew by more than 10 MiB over the rest, or the time of a photo by more than a fifth.
Processor time is judged, which other programs lengthen least.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image as pillow

import sdsr
from sdsr.engines import load_model
from sdsr.photos.files import read_photo, write_photo
from sdsr.request import Request

SAMPLE = Path(sdsr.__file__).parent / "assets" / "sample.jpg"
SETTLED = 0.3
MOST_BYTES = 10 * 2**20
MOST_SLOWER = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--scale", type=float, default=4.0)
    parser.add_argument("--engine", default="onnx")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    kept, seconds = restored(arguments.photos, arguments.side, arguments.scale, arguments.engine)
    grown, _ = grown_over(kept)
    slower, level = grown_over(seconds)
    print(f"{arguments.photos} photos of {arguments.side} px x {arguments.scale:g} by {arguments.engine}:")
    print(f"memory {kept[0] / 2**20:.0f} MiB after the first, {kept[-1] / 2**20:.0f} after the last; ", end="")
    print(f"{grown / 2**20:+.1f} MiB over the settled part")
    print(f"{level:.3f} s of processor time a photo; {100 * slower / level:+.0f} % over the settled part")
    if arguments.json:
        arguments.json.write_text(json.dumps({"bytes": kept, "cpu_seconds": seconds}) + "\n")
    sys.exit(grown > MOST_BYTES or slower > MOST_SLOWER * level)


def restored(count: int, side: int, scale: float, engine: str) -> tuple[list[int], list[float]]:
    """Return what the process held after each photo, in bytes, and the seconds of processor time that each took."""
    maker = load_model(engine=engine)  # pyright: ignore[reportArgumentType]  (argparse gives any text)
    process = psutil.Process()
    kept = []
    seconds = []
    with pillow.open(SAMPLE) as sample, tempfile.TemporaryDirectory() as folder:
        photo, result = Path(folder) / "photo.jpg", Path(folder) / "result.png"
        for index in range(count):
            left = index % (sample.width - side + 1)
            sample.crop((left, 0, left + side, side)).save(photo, quality=90)
            began = time.process_time()
            write_photo(maker.upscale(read_photo(photo), Request(scale=scale)), result, overwrite=True)
            seconds.append(time.process_time() - began)
            kept.append(process.memory_info().rss)
    return kept, seconds


def grown_over(values: list[int] | list[float]) -> tuple[float, float]:
    """Return by how much a line through the settled part of the values rises over it, and their median."""
    settled = np.asarray(values[int(SETTLED * len(values)) :], float)
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0] if len(settled) > 1 else 0.0
    return float(slope * len(settled)), float(np.median(settled))


if __name__ == "__main__":
    main()
