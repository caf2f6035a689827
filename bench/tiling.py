"""What windows and chopped tiles do to pictures, beside one window: seams, differences, and a sheet of both.

python bench/tiling.py PHOTO... [--size 1536 1024] [--window 512] [--model NAME or FOLDER] [--output tiling.jpg]

The photos' middles are shrunk to a quarter of the size and restored three times: in one window (where memory allows;
else in larger ones, whose borders are elsewhere), in windows whose estimates are blended, and in tiles each of which is
restored as a photo of its own. "seam" is the gradient across borders over that beside them (`seams.py`),
divided by what content does to it: the same of the first picture, at the same places, where it has no border. 1 is no
seam. The sheet shows the first photo where four tiles meet.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image as pillow
from PIL import ImageOps

from sdsr.images.windows import cover
from sdsr.metrics.planes import Pixels, plane
from sdsr.metrics.save import save_image
from sdsr.metrics.sheet import contact_sheet
from sdsr.photos.photo import Photo
from sdsr.restoration.windowed import Windowed
from sdsr.tensors import Region
from sdsr.upscaling import Request, Upscaler

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.seams import Borders, Seam, borders_of, seam

SCALE = 4
AMPLIFICATION = 20
SHOWN_PX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How photos are restored: its name, what does it, and where it leaves borders."""

    name: str
    restored: Callable[[Photo], Pixels]
    borders: Borders


def main() -> None:
    arguments = _arguments()
    width, height = arguments.size
    upscaler = Upscaler.from_pretrained(arguments.model, prior=arguments.prior, device=arguments.device)
    reference, *others = _ways(upscaler, (height, width), arguments.window, arguments.steps)
    print(f"{width}x{height}, {upscaler.recipe.name}\n", flush=True)
    lines: dict[str, list[tuple[Seam, Seam, float]]] = {way.name: [] for way in others}
    columns: dict[str, list[Pixels]] = {}
    for path in arguments.photos:
        small = ImageOps.fit(pillow.open(path).convert("RGB"), (width // SCALE, height // SCALE))
        lq = Photo(pixels=np.asarray(small))
        model = _timed(path, reference, lq)
        for way in others:
            picture = _timed(path, way, lq)
            lines[way.name].append(_measured(picture, model, _less(way.borders, reference.borders)))
            shown = [_crossing(each, arguments.window) for each in (picture, _amplified(picture, model))]
            columns.setdefault(way.name, shown)
    print(f"\n| beside {reference.name} | seam | content | mean difference, of 255 |\n|---|---|---|---|")
    for name, found in lines.items():
        seams, contents, differences = zip(*found, strict=True)
        print(f"| {name} | {_mean(seams)} | {_mean(contents)} | {np.mean(differences):.2f} |")
    names = ["", f"less {reference.name}, {AMPLIFICATION} times"]
    save_image(contact_sheet(columns, names=names, cell_px=SHOWN_PX), arguments.output)
    print(f"\n{arguments.output}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--size", type=int, nargs=2, default=(1536, 1024), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--model", default="d3sr-small")
    parser.add_argument("--prior")
    parser.add_argument("--device")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--output", type=Path, default=Path("tiling.jpg"))
    arguments = parser.parse_args()
    if any(side % SCALE for side in arguments.size):
        parser.error(f"--size must be in multiples of {SCALE}")
    return arguments


def _ways(upscaler: Upscaler, size: tuple[int, int], window: int, steps: int | None) -> tuple[Way, Way, Way]:
    """Without borders if memory allows, in windows, and chopped; windows are in multiples of the canvas's own."""
    multiple = upscaler.restorer.prior.multiple_px
    window = window // multiple * multiple
    overlap = max(multiple, window // 4 // multiple * multiple)
    canvas = upscaler.maker.lq_image(torch.zeros(1, 3, size[0] // SCALE, size[1] // SCALE), size).region
    whole = max(canvas.height, canvas.width)
    larger = _larger_window(upscaler, (canvas.height, canvas.width), window)
    return (
        Way(
            name="one window" if larger >= whole else f"windows of {larger} px",
            restored=lambda lq: _windowed(upscaler, lq, size, (larger, overlap), steps),
            borders=borders_of(_covering(canvas, larger, overlap), size),
        ),
        Way(
            name=f"windows of {window} px, {overlap} px shared",
            restored=lambda lq: _windowed(upscaler, lq, size, (window, overlap), steps),
            borders=borders_of(_covering(canvas, window, overlap), size),
        ),
        Way(
            name=f"chopped tiles of {window} px",
            restored=lambda lq: _chopped(upscaler, lq, size, window, steps),
            borders=borders_of(_parts(size, window), size),
        ),
    )


def _covering(canvas: Region, window: int, overlap: int) -> Iterator[Region]:
    """The windows of a canvas, counted from the photo's first pixel as the canvas is."""
    for each in cover(canvas.height, canvas.width, window=window, overlap=overlap):
        yield replace(each, top=each.top + canvas.top, left=each.left + canvas.left)


def _larger_window(upscaler: Upscaler, canvas: tuple[int, int], window: int) -> int:
    """The side of one window for everything if it fits, else of windows half as large again."""
    whole, most = max(canvas), upscaler.recipe.canvas.window_px
    fits = psutil.virtual_memory().available >= upscaler.restorer.prior.facts.bytes_per_px * canvas[0] * canvas[1]
    if fits and (most is None or whole <= most):
        return whole
    return window * 3 // 2 // upscaler.restorer.prior.multiple_px * upscaler.restorer.prior.multiple_px


def _windowed(
    upscaler: Upscaler, lq: Photo, size: tuple[int, int], window: tuple[int, int], steps: int | None
) -> Pixels:
    """The photo restored in windows of (side, overlap), their estimates blended."""
    job = upscaler.job(lq, Request(width=size[1], height=size[0], steps=steps, label=False))
    restorer = Windowed(restorer=upscaler.restorer, window_px=window[0], overlap_px=window[1])
    return replace(job, restorer=restorer).run().pixels


def _chopped(upscaler: Upscaler, lq: Photo, size: tuple[int, int], window: int, steps: int | None) -> Pixels:
    """The photo cut into tiles that share nothing, each restored alone, and put together again."""
    pixels = np.empty((*size, 3), np.uint8)
    small = lq.pixels.shape[:2]
    for given, wanted in zip(_parts(small, window // SCALE), _parts(size, window), strict=True):
        tile = Photo(pixels=np.ascontiguousarray(lq.pixels[given.rows, given.columns]))
        request = Request(width=wanted.width, height=wanted.height, steps=steps)
        pixels[wanted.rows, wanted.columns] = upscaler.upscale(tile, request).pixels
    return pixels


def _parts(size: tuple[int, ...], side: int) -> Iterator[Region]:
    """The squares that a picture is cut into, the last ones of a row or column smaller."""
    height, width = size
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Region(top=top, left=left, height=min(side, height - top), width=min(side, width - left))


def _timed(path: Path, way: Way, lq: Photo) -> Pixels:
    began = time.perf_counter()
    pixels = way.restored(lq)
    print(f"{path.name}, {way.name}: {time.perf_counter() - began:.1f} s", flush=True)
    return pixels


def _measured(picture: Pixels, reference: Pixels, borders: Borders) -> tuple[Seam, Seam, float]:
    """The seam, what content alone does at the same places, and the mean absolute difference."""
    shown, model = plane(picture, "luma"), plane(reference, "luma")
    difference = float(np.abs(picture.astype(int) - reference).mean())
    return seam(shown, borders, model), seam(model, borders), difference


def _less(borders: Borders, others: Borders) -> Borders:
    rows, columns = set(borders.rows) - set(others.rows), set(borders.columns) - set(others.columns)
    return Borders(rows=tuple(sorted(rows)), columns=tuple(sorted(columns)))


def _mean(seams: Sequence[Seam]) -> str:
    spread = np.sqrt(np.sum([each.spread**2 for each in seams])) / len(seams)
    return f"{np.mean([each.ratio for each in seams]):.3f} ± {spread:.3f}"


def _amplified(picture: Pixels, reference: Pixels) -> Pixels:
    difference = picture.astype(int) - reference
    return (128 + AMPLIFICATION * difference).clip(0, 255).astype(np.uint8)


def _crossing(picture: Pixels, window: int) -> Pixels:
    """The square around the first place where four tiles meet."""
    height, width = picture.shape[:2]
    side = min(SHOWN_PX, height, width)
    top, left = (max(0, min(window - side // 2, length - side)) for length in (height, width))
    return picture[top : top + side, left : left + side]


if __name__ == "__main__":
    main()
