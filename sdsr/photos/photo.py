"""A photo in memory: compact integers, with what its file carries besides them; knows no torch."""

from dataclasses import dataclass, field

import numpy as np

from sdsr.photos.formats import Format, Space
from sdsr.photos.notes import Notes

_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a photo carries besides its pixels, and what a file written from it gets back.

    `exif` (a TIFF block without prefix) and `xmp` say "upright" and hold no thumbnail; `icc` fits `space`, the one
    to be written; `dpi` is (x, y). `lossless` says that a format which can be either way was so, `credentials` that the
    photo's file had signed Content Credentials, which no other pixels can have.
    """

    format: Format = "PNG"
    bits: int = 8
    space: Space = "RGB"
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: Notes = field(default_factory=Notes)
    lossless: bool = False
    credentials: bool = False

    @property
    def gray(self) -> bool:
        """Whether the photo came without color, so that what is written stays without."""
        return self.space == "GRAY"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Photo:
    """An upright sRGB photo: `pixels` (height, width, 3), `alpha` (height, width) or None; both uint8 or uint16.

    `source_sha256` is that of the file it was read from, None where it came otherwise.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    traits: Traits = Traits()
    source_sha256: str | None = None

    def __post_init__(self) -> None:
        pixels = self.pixels
        alpha = self.alpha
        assert pixels.shape == (*self.size, 3), f"pixels (={pixels.shape}) must be (height, width, 3)"
        assert pixels.dtype in (np.uint8, np.uint16), f"pixels (={pixels.dtype}) must be uint8 or uint16"
        assert alpha is None or (alpha.shape, alpha.dtype) == (self.size, pixels.dtype), "alpha must fit pixels"

    @property
    def transparent(self) -> bool:
        """Whether there is alpha, and it hides something."""
        return self.alpha is not None and bool((self.alpha != np.iinfo(self.alpha.dtype).max).any())

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.pixels.shape[0], self.pixels.shape[1]


def bleed(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return pixels whose fully transparent places continue the colors around them, so that restoration draws no halo.

    Visible pixels stay as they are. Colors are averaged over growing blocks, weighted by alpha, and flow back down.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    levels = [_halve(pixels, alpha)]
    while not levels[-1][1].all():
        levels.append(_halve(*levels[-1]))
    coarse = levels.pop()[0]
    for colors, weights in reversed(levels):
        _fill(colors, weights == 0, coarse)
        coarse = colors
    filled = pixels.copy()
    _fill(filled, hidden, np.rint(coarse))
    return filled


def _halve(colors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average colors over 2x2 blocks by weight; return them with the blocks' weights."""
    height = (weights.shape[0] + 1) // 2
    width = (weights.shape[1] + 1) // 2
    sums = np.zeros((height, width, 3), np.float32)
    totals = np.zeros((height, width), np.float32)
    for y, x in _PHASES:
        weight = weights[y::2, x::2].astype(np.float32)
        sums[: weight.shape[0], : weight.shape[1]] += colors[y::2, x::2] * weight[..., None]
        totals[: weight.shape[0], : weight.shape[1]] += weight
    sums /= np.where(totals > 0, totals, 1)[..., None]
    return sums, totals


def _fill(colors: np.ndarray, holes: np.ndarray, coarse: np.ndarray) -> None:
    """Write into the holes of `colors` the color of their block in `coarse`, which is half as large."""
    for y, x in _PHASES:
        hole = holes[y::2, x::2]
        colors[y::2, x::2][hole] = coarse[: hole.shape[0], : hole.shape[1]][hole]
