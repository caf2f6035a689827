"""JPEG as tensor operations: batched, on any device, one quality per photo; optionally with a gradient.

Deviation: as in the published training code, and unlike files on disk, the quantization tables are transposed, are not
rounded to integers and may fall below 1. Baseline JPEG otherwise (ITU-T T.81, 4:2:0 by averaging, nearest upsampling).
Deviation: at quality 100, where their steps are zero and the published code divides by them, nothing is rounded.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sdsr.array_api import full_precision
from sdsr.errors import InputError
from sdsr.tensors import Float, Image

Qualities = Float[Tensor, " b"]
Planes = Float[Tensor, "b _ _ _"]
Blocks = Float[Tensor, "b _ 64"]
Table = Float[Tensor, " 64"]
Transform = Float[Tensor, "64 64"]

# T.81, tables K.1 and K.2, row by row
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))
_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def jpeg(image: Image, quality: Qualities, *, smooth: bool = False) -> Image:
    """What remains of each photo after JPEG at its quality (1 to 100, fractions allowed).

    `smooth` replaces rounding r by r + (x - r)^3, which has a gradient. It computes in float32 or wider, under
    autocast too: levels of fine steps exceed float16. Raises InputError for a quality out of range.
    """
    lossless = _check(quality)
    wide = image.to(torch.promote_types(image.dtype, torch.float32))
    with full_precision(wide):
        rounding = _Rounding(strength=quality_factor(quality).to(wide), lossless=lossless, smooth=smooth)
        return _compressed(wide, rounding).to(image.dtype)


def _compressed(image: Image, rounding: "_Rounding") -> Image:
    b, _, height, width = image.shape
    padded = functional.pad(image, (0, -width % 16, 0, -height % 16)) if height % 16 or width % 16 else image
    size = padded.shape[-2:]
    constants = _constants(image.dtype, image.device)
    luma = _quantized(_mixed(padded, constants.to_luma) - 128, constants.luma, constants.transform, rounding)
    chroma = _quantized(_mixed(_halved(padded), constants.to_chroma), constants.chroma, constants.transform, rounding)
    # brightness has an equal part in all three, so color is mixed at its own size
    color = _doubled_width(_mixed(chroma, constants.of_chroma) + 128 / 255)
    rgb = torch.add(color[:, :, :, None], luma.view(b, 1, size[0] // 2, 2, size[1]), alpha=1 / 255).clamp_(0, 1)
    rgb = rgb.view(b, 3, *size)
    return rgb if padded is image else rgb[..., :height, :width]


def _check(quality: Qualities) -> bool:
    """Tell whether any quality is 100; InputError where one is none."""
    values = quality.tolist()
    for value in values:
        if not 1 <= value <= 100:
            raise InputError(f"quality (={value:g}) of a JPEG must be in 1 ... 100; choose one of these.")
    return 100 in values


def quality_factor(quality: Qualities) -> Qualities:
    """What the tables are multiplied by: 50 / q below 50, else 2 - q / 50."""
    return torch.where(quality < 50, 50 / quality, 2 - quality / 50)


@functools.cache
def luma_table() -> Float[Tensor, "8 8"]:
    """Quantization of brightness at quality 50, transposed."""
    return torch.tensor(_LUMA, dtype=torch.float32).T.contiguous()


@functools.cache
def chroma_table() -> Float[Tensor, "8 8"]:
    """Quantization of color at quality 50 (symmetric)."""
    table = torch.full((8, 8), 99.0)
    table[:4, :4] = torch.tensor(_CHROMA_CORNER)
    return table


def _mixed(planes: Planes, matrix: Float[Tensor, "mixed c"]) -> Planes:
    b, c, height, width = planes.shape
    return torch.matmul(matrix, planes.reshape(b, c, height * width)).view(b, -1, height, width)


def _halved(planes: Planes) -> Planes:
    """Return averages of areas of 2x2: by two sums, several times as fast as pooling."""
    columns = planes[..., 0::2, :] + planes[..., 1::2, :]
    return (columns[..., 0::2] + columns[..., 1::2]) / 4


def _doubled_width(planes: Planes) -> Planes:
    """Return each pixel twice: as real and imaginary part, which is several times as fast as copying pixels."""
    return torch.view_as_real(torch.complex(planes, planes)).flatten(-2)


def _blocks(planes: Planes) -> Blocks:
    b, c, height, width = planes.shape
    return planes.view(b, c, height // 8, 8, width // 8, 8).transpose(3, 4).reshape(b, -1, 64)


def _plane(blocks: Blocks, shape: torch.Size) -> Planes:
    b, c, height, width = shape
    return blocks.view(b, c, height // 8, width // 8, 8, 8).transpose(3, 4).reshape(shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rounding:
    """What the tables are multiplied by, whether for any photo by nothing, and whether rounding has a gradient."""

    strength: Qualities
    lossless: bool
    smooth: bool


def _quantized(planes: Planes, table: Table, transform: Transform, rounding: _Rounding) -> Planes:
    """Through the 8x8 cosine transform, rounding to multiples of table x strength, and back; of zero, no rounding."""
    step = table * rounding.strength[:, None, None]
    exact = step == 0 if rounding.lossless else None
    if exact is not None:
        step = torch.where(exact, 1.0, step)  # a gradient passes both branches below
    levels = _blocks(planes) @ (transform.T / step)
    rounded = levels.round()
    if rounding.smooth:
        rounded = rounded + (levels - rounded) ** 3
    if exact is not None:
        rounded = torch.where(exact, levels, rounded)
    return _plane(rounded @ (transform * step.mT), planes.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Constants:
    """What doesn't depend on photo or quality: mixing of colors, tables, the cosine transform."""

    to_luma: Float[Tensor, "1 3"]
    to_chroma: Float[Tensor, "2 3"]
    of_chroma: Float[Tensor, "3 2"]
    luma: Table
    chroma: Table
    transform: Transform


@functools.lru_cache(maxsize=8)
def _constants(dtype: torch.dtype, device: torch.device) -> _Constants:
    # a cache that is filled in inference mode must serve training, too
    with torch.inference_mode(False):
        values = {
            "to_luma": 255 * torch.tensor(_TO_YCBCR)[:1],
            "to_chroma": 255 * torch.tensor(_TO_YCBCR)[1:],
            "of_chroma": torch.tensor(_TO_RGB)[:, 1:] / 255,
            "luma": luma_table().flatten(),
            "chroma": chroma_table().flatten(),
            "transform": _transform(),
        }
        return _Constants(**{name: value.to(device, dtype) for name, value in values.items()})


@functools.cache
def _transform() -> Float[Tensor, "64 64"]:
    """The orthonormal two-dimensional cosine transform of a flattened 8x8 block."""
    frequency = torch.arange(8.0, dtype=torch.float64)[:, None]
    position = torch.arange(8.0, dtype=torch.float64)
    rows = torch.cos((2 * position + 1) * frequency * torch.pi / 16) / 2
    rows[0] /= 2**0.5
    return torch.kron(rows, rows).float()
