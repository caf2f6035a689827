"""The picture of docs/trust.md: where the default's promise fails, and where it holds although the result is bad.

python bench/trust_failures.py --photos TAR --out docs/images/trust-failures.webp [--model NAME]

TAR is a shard with the gallery's photos. Each row is a picture whose truth is known, degraded: what was given (enlarged
by bicubic), the result, the truth, the true error and the expected one as gray (white is 32 of 255 and more), and the
result with gray over what is masked at the middle promise. The figures of each row are printed. Drawings are drawn
here. Two minutes on two cores.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.gallery import CHOSEN, FAILURES, photos_of
from sdsr.data.degradation import degradation, degrade
from sdsr.errors import ModelError, SdsrError
from sdsr.images.floats import quantize
from sdsr.metrics.planes import Pixels, resized
from sdsr.metrics.save import save_image
from sdsr.metrics.sheet import Cell, cropped, tiled
from sdsr.models import DEFAULT_MODEL, find_model
from sdsr.photos.photo import Photo
from sdsr.tensors import Image, Region
from sdsr.trust.consistency import measure_consistency
from sdsr.trust.expected_error import CELL_PX, Clues, true_error
from sdsr.trust.mask import Calibration, unmasked
from sdsr.trust.stored import Trust, read_trust
from sdsr.upscaling import Upscaler

SIDE_PX = 192
_WHITE = 32 / 255
_WORDS = ("the", "of", "house", "lamp", "wall", "lit", "nobody", "read", "in", "1912", "or", "1917")
_GRAY = np.array((90, 90, 100), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A truth, (1, 3, h, w) in [0, 1]; the seed of its degradation; the corner of the square that is shown."""

    kind: str
    truth: Image
    seed: int
    left: int
    top: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """A case restored: its pictures, and its errors cell by cell."""

    bicubic: Pixels
    result: Pixels
    truth: Pixels
    error: np.ndarray
    expected: np.ndarray
    free: np.ndarray


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line `argv`, this process's own if None."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, metavar="TAR", help="a shard with the photos")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the picture, written over another")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a calibrated method's name or folder")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(min(2, torch.get_num_threads()))
    try:
        trust = read_trust(find_model(arguments.model).folder)
        if trust is None:
            raise ModelError(f"model (={arguments.model}) is not calibrated; run `sdsr study trust {arguments.model}`.")
        draw(arguments, trust)
    except SdsrError as error:
        raise SystemExit(str(error)) from error


def draw(arguments: argparse.Namespace, trust: Trust) -> None:
    """Write the picture, and print a line for each of its rows."""
    upscaler = Upscaler.from_pretrained(arguments.model)
    promise = sorted(trust.calibrations, key=lambda each: each.error)[len(trust.calibrations) // 2]
    print(f"promised: a mean error below {promise.error * 255:.1f} of 255 where nothing is masked")
    print("| picture | error of the whole | unmasked | error there | expected there |")
    rows = []
    for case in cases(arguments.photos):
        seen = look(case, upscaler, trust, promise)
        print(line(case, seen), flush=True)
        rows.append(row(case, seen))
    save_image(tiled(rows, SIDE_PX), arguments.out)
    print(f"{arguments.out}  {arguments.out.stat().st_size / 1000:.0f} kB")


def cases(shard: Path) -> Iterator[Case]:
    """Yield what is shown: hard degradations and regular textures of the gallery, letters, and a drawing."""
    photos = photos_of(shard)
    for shown in (*CHOSEN, *FAILURES):
        if shown.kind in ("noise", "regular-texture", "thin-lines"):
            yield Case(kind=shown.kind, truth=photos[shown.key], seed=shown.seed, left=shown.x, top=shown.y)
    yield Case(kind="letters", truth=_tensor(letters()), seed=2, left=96, top=96)
    yield Case(kind="drawing", truth=_tensor(drawing()), seed=2, left=160, top=160)


def letters(side: int = 512) -> PillowImage.Image:
    """Return a printed page: lines of 12 px, which a quarter of their size no longer holds."""
    page = PillowImage.new("RGB", (side, side), (246, 243, 235))
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(12)
    rng = np.random.default_rng(0)
    for top in range(12, side - 16, 18):
        pen.text((14, top), " ".join(rng.choice(_WORDS, 14)), fill=(35, 32, 40), font=font)
    return page


def drawing(side: int = 512) -> PillowImage.Image:
    """Return an engraving's hatching: rings of fine lines over parallel ones."""
    down, across = np.mgrid[:side, :side].astype(np.float32)
    distance = np.hypot(across - 256, down - 240)
    rings = np.sin(distance * 1.1)
    stripes = np.sin((across + 0.6 * down) * 0.9)
    ink = np.where(distance < 170, np.where(distance < 90, rings, rings * stripes), stripes)
    paper = np.where(ink > 0.15, 60, 240).astype(np.uint8)
    return PillowImage.fromarray(paper).convert("RGB")


def look(case: Case, upscaler: Upscaler, trust: Trust, promise: Calibration) -> Seen:
    """Degrade and restore a case, as often as the model was calibrated for."""
    lq = Photo(pixels=quantize(degrade(case.truth, degradation("photo"), [case.seed]), np.uint8))
    passes = upscaler.passes(lq, count=trust.passes)
    truth = Photo(pixels=quantize(case.truth, np.uint8))
    expected = trust.expected.map(Clues.of(passes.first, passes.spread, measure_consistency(passes.first, lq)))
    height, width = passes.first.size
    return Seen(
        bicubic=resized(lq.pixels, (width, height)),
        result=passes.first.pixels,
        truth=truth.pixels,
        error=true_error(passes.first, truth),
        expected=expected,
        free=unmasked(expected, promise.threshold),
    )


def line(case: Case, seen: Seen) -> str:
    """Return the figures of a case: mean errors in levels of 255, and the unmasked share."""
    there = [
        f"{255 * values[seen.free].mean():.1f}" if seen.free.any() else "-" for values in (seen.error, seen.expected)
    ]
    return f"| {case.kind} | {255 * seen.error.mean():.1f} | {seen.free.mean():.0%} | {there[0]} | {there[1]} |"


def row(case: Case, seen: Seen) -> list[Cell]:
    """Return a row of the picture."""
    region = Region(top=case.top, left=case.left, height=SIDE_PX, width=SIDE_PX)
    size = (seen.truth.shape[0], seen.truth.shape[1])
    masked = _spread(~seen.free, size)[..., None]
    shown = {
        f"{case.kind}: given": seen.bicubic,
        "result": seen.result,
        "truth": seen.truth,
        "true error": _gray(_spread(seen.error, size)),
        "expected error": _gray(_spread(seen.expected, size)),
        "masked": np.where(masked, 0.15 * seen.result + 0.85 * _GRAY, seen.result).astype(np.uint8),
    }
    return [Cell(photo=cropped(photo, region), label=label) for label, photo in shown.items()]


def _spread(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a map of cells at the size of the result."""
    return values.repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)[: size[0], : size[1]]


def _gray(values: np.ndarray) -> Pixels:
    return np.repeat((255 * (values / _WHITE).clip(0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def _tensor(picture: PillowImage.Image) -> Image:
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None] / 255


if __name__ == "__main__":
    main()
