"""What the report, consistency, projection and protection of a result cost: seconds, and memory beyond the pictures.

On one thread, each in a process of its own, forked with photo and result in it, so that its peak is its own (Linux).
The result is the sample photo, tiled to `--megapixels`, its colors shifted; the photo is its reduction.
`python bench/trust_costs.py`
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

import sdsr
from sdsr.images.floats import quantize
from sdsr.images.reducing import reduce_photo
from sdsr.metrics.tables import aligned
from sdsr.photos.files import read_photo
from sdsr.photos.photo import Photo
from sdsr.reports.beside import report_result
from sdsr.reports.page import write_report
from sdsr.reports.report import Examined
from sdsr.restoration.projection import project
from sdsr.restoration.protection import protect
from sdsr.tensors import Region
from sdsr.trust.consistency import measure_consistency
from sdsr.upscaling import Upscaler

SCALE = 4


def pair(megapixels: float) -> tuple[Photo, Photo]:
    """Return a photo and a result that is `SCALE` times larger, of so many million pixels, 4:3."""
    sample = read_photo(Path(sdsr.__file__).parent / "assets" / "sample_hq.jpg")
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5 / SCALE) * SCALE
    width = round(height * 4 / 3 / SCALE) * SCALE
    tiles = (-(-height // sample.size[0]), -(-width // sample.size[1]), 1)
    pixels = np.ascontiguousarray(np.tile(sample.pixels, tiles)[:height, :width])
    photo = quantize(reduce_photo(Photo(pixels=pixels), (height // SCALE, width // SCALE)), np.uint8)
    return Photo(pixels=photo), Photo(pixels=np.clip(pixels.astype(np.int16) + 6, 0, 255).astype(np.uint8))


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds and the MiB beyond what was there before, of a function run in a fork."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_tell, args=(work, sender))
    process.start()
    found = receiver.recv()
    process.join()
    return found


def _tell(work: Callable[[], object], sender: Connection) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    sender.send((seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


def imported() -> float:
    """Import what looks for text, as each process does once, and return the seconds; none where it is absent."""
    began = time.perf_counter()
    with suppress(ImportError):
        from rapidocr import RapidOCR  # noqa: F401  (the package itself imports nothing before)
    return time.perf_counter() - began


def report_of(photo: Photo, result: Photo, passes: int, page: Path) -> int:
    """Write a report, with the maps of so many passes if several, and return its size in bytes."""
    spread = np.full(result.size, 0.01, np.float32)
    examined = Examined(passes=passes, spread=spread) if passes > 1 else None
    write_report(report_result("sample", photo, result, model="d3sr-small", examined=examined), page)
    return page.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--restored", action="store_true", help="Also how long the default takes for such a result.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # threads that were at work don't live through a fork
    importing = imported()
    photo, result = pair(arguments.megapixels)
    height, width = photo.size
    quarter = Region(top=height // 4, left=width // 4, height=height // 2, width=width // 2)
    page = Path(tempfile.mkdtemp()) / "report.html"
    works: dict[str, Callable[[], object]] = {
        "consistency": lambda: measure_consistency(result, photo),
        "--report": lambda: report_of(photo, result, 1, page),
        "--report of 4 passes, passes aside": lambda: report_of(photo, result, 4, page),
        "--consistent": lambda: project(result, photo),
        "--protect, a quarter": lambda: protect(result, photo, [quarter]),
    }
    if arguments.restored:
        works["d3sr-small itself"] = lambda: Upscaler.from_pretrained(device="cpu").upscale(photo)
    rows = [[f"of {result.size[1]} x {result.size[0]} px", "seconds", "MiB"]]
    for name, work in works.items():
        seconds, mib = measured(work)
        rows.append([name, f"{seconds:.2f}", f"{mib:.0f}"])
    print(aligned(rows))
    print(f"once in a process, before the first report: {importing:.2f} s to import what looks for text")
    print(f"report of 4 passes: {page.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
