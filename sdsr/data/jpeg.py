"""JPEG as tensor operations: batched, on any device, one quality per photo; optionally with a gradient.

Deviation: as in the published training code, and unlike files on disk, the quantization tables are transposed, are not
rounded to integers and may fall below 1. Baseline JPEG otherwise (ITU-T T.81, 4:2:0 by averaging, nearest upsampling).
Deviation: at quality 100, where their steps are zero and the published code divides by them, nothing is rounded.
"""

import functools

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sdsr.errors import InputError
from sdsr.tensors import Image, Plane

Qualities = Float[Tensor, " b"]

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

    `smooth` replaces rounding r by r + (x - r)^3, which has a gradient. It computes in float32 or wider: levels of
    fine steps exceed float16. Raises InputError for a quality out of range.
    """
    _check(quality)
    dtype = image.dtype
    image = image.to(torch.promote_types(image.dtype, torch.float32))
    height, width = image.shape[-2:]
    padded = functional.pad(image * 255, (0, -width % 16, 0, -height % 16))
    y, cb, cr = _mixed(padded, _TO_YCBCR).split(1, dim=1)
    strength = quality_factor(quality).to(image)
    y = _quantized(y - 128, luma_table().to(image), strength, smooth)
    chroma = [
        _quantized(functional.avg_pool2d(plane, 2), chroma_table().to(image), strength, smooth) for plane in (cb, cr)
    ]
    cb, cr = (functional.interpolate(plane, scale_factor=2, mode="nearest") for plane in chroma)
    rgb = _mixed(torch.cat((y + 128, cb, cr), dim=1), _TO_RGB)[..., :height, :width]
    return (rgb.clamp(0, 255) / 255).to(dtype)


def _check(quality: Qualities) -> None:
    wrong = quality[~((quality >= 1) & (quality <= 100))]
    if len(wrong):
        raise InputError(f"quality (={float(wrong[0]):g}) of a JPEG must be in 1 ... 100; choose one of these.")


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


def _mixed(planes: Image, matrix: tuple[tuple[float, ...], ...]) -> Image:
    return torch.einsum("ij,bjhw->bihw", torch.tensor(matrix).to(planes), planes)


def _quantized(plane: Plane, table: Float[Tensor, "8 8"], strength: Qualities, smooth: bool) -> Plane:
    """Through the 8x8 cosine transform, rounding to multiples of table x strength, and back; of zero, no rounding."""
    b, _, height, width = plane.shape
    transform = _transform().to(plane)
    blocks = plane.reshape(b, height // 8, 8, width // 8, 8).transpose(2, 3).reshape(b, -1, 64)
    coefficients = blocks @ transform.T
    exact = (strength == 0)[:, None, None]
    step = torch.where(exact, 1.0, table.flatten() * strength[:, None, None])  # a gradient passes both branches below
    levels = coefficients / step
    rounded = levels.round()
    if smooth:
        rounded = rounded + (levels - rounded) ** 3
    restored = torch.where(exact, coefficients, rounded * step) @ transform
    return restored.reshape(b, height // 8, width // 8, 8, 8).transpose(2, 3).reshape(b, 1, height, width)


@functools.cache
def _transform() -> Float[Tensor, "64 64"]:
    """The orthonormal two-dimensional cosine transform of a flattened 8x8 block."""
    frequency = torch.arange(8.0, dtype=torch.float64)[:, None]
    position = torch.arange(8.0, dtype=torch.float64)
    rows = torch.cos((2 * position + 1) * frequency * torch.pi / 16) / 2
    rows[0] /= 2**0.5
    return torch.kron(rows, rows).float()
