"""Sizes of results, and resampling to them: in parts, if the whole is too much."""

import math
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sdsr.errors import InputError
from sdsr.images.banded import apply_banded
from sdsr.tensors import Region

MAX_SCALE = 16.0


def resample(
    image: Float[Tensor, "b c height width"], size: tuple[int, int], region: Region | None = None
) -> Float[Tensor, "b c _ _"]:
    """Return the image at `size` (height, width), or only the part `region` of that result.

    Bicubic (a = -0.5), antialiased when shrinking: Pillow's filter, and that of `F.interpolate(..., antialias=True)`.
    A part equals the crop of the whole, and reads only the rows and columns it needs. Nothing is clamped.
    """
    if min(size) < 1:
        raise InputError(f"size (={size[0]} x {size[1]}) must be at least 1 x 1; choose a larger one.")
    region = region or Region.whole(*size)
    if min(region.top, region.left) < 0 or region.bottom > size[0] or region.right > size[1]:
        raise InputError(f"region (={region}) must lie within the result of {size[0]} x {size[1]}; clip it.")
    result = _resample_axis(image, size[0], region.rows, dim=-2)
    return _resample_axis(result, size[1], region.columns, dim=-1).to(image.dtype)


def pad_to_multiple(
    image: Float[Tensor, "b c height width"], multiple: int
) -> tuple[Float[Tensor, "b c _ _"], tuple[int, int]]:
    """Return the image, grown at the bottom and right to multiples of `multiple`, and its size before.

    What is added mirrors the image; where the image is too small for that, its last row or column is repeated.
    """
    height, width = image.shape[-2:]
    down, right = -height % multiple, -width % multiple
    padded = F.pad(image, (0, 0, 0, down), mode="reflect" if down < height else "replicate")
    padded = F.pad(padded, (0, right, 0, 0), mode="reflect" if right < width else "replicate")
    return padded, (height, width)


def crop(image: Float[Tensor, "b c height width"], size: tuple[int, int]) -> Float[Tensor, "b c _ _"]:
    """Return the top left part of `size` (height, width), which undoes `pad_to_multiple`."""
    return image[..., : size[0], : size[1]]


def output_size(
    width: int,
    height: int,
    *,
    scale: float | int | None = None,
    to_width: int | None = None,
    to_height: int | None = None,
    megapixels: float | int | None = None,
) -> tuple[int, int]:
    """Return the (width, height) of the result, wanted by scale, width, height, both of these, or millions of pixels.

    A side is its length times the scale, rounded (halves up), at least 1. Raises InputError if the scale isn't in
    (0, 16], or if a given width and height are off the photo's proportions by more than a pixel.

    >>> output_size(121, 75, scale=2.5), output_size(640, 480, to_width=1000), output_size(200, 50, megapixels=1)
    ((303, 188), (1000, 750), (2000, 500))
    """
    if min(width, height) < 1:
        raise InputError(f"photo (={width} x {height}) is empty; both sides must be at least 1 px.")
    targets = {"scale": scale, "width": to_width, "height": to_height, "megapixels": megapixels}
    given = [name for name, value in targets.items() if value is not None]
    if len(given) != 1 and given != ["width", "height"]:
        wanted = " and ".join(given) or "nothing"
        raise InputError(f"target (={wanted}) must be one: a scale, width, height, width and height, or megapixels.")
    if to_width is not None and to_height is not None:
        return _exact(width, height, to_width, to_height)
    if megapixels is not None:
        factor = math.sqrt(max(megapixels, 0.0) * 1e6 / (width * height))
    elif to_width is not None:
        factor = to_width / width
    elif to_height is not None:
        factor = to_height / height
    else:
        factor = scale or 0.0
    return _scaled(width, height, factor)


def _exact(width: int, height: int, to_width: int, to_height: int) -> tuple[int, int]:
    by_width = _scaled(width, height, to_width / width)
    by_height = _scaled(width, height, to_height / height)
    if abs(by_width[1] - to_height) > 1 and abs(by_height[0] - to_width) > 1:
        raise InputError(
            f"width and height (={to_width} x {to_height}) must keep the proportions of {width} x {height} "
            f"to one pixel; give only one of them, or {by_width[0]} x {by_width[1]}."
        )
    return to_width, to_height


def _scaled(width: int, height: int, scale: float | int) -> tuple[int, int]:
    if not 0 < scale <= MAX_SCALE:
        limit = f"{math.floor(width * MAX_SCALE)} x {math.floor(height * MAX_SCALE)}"
        raise InputError(
            f"scale (={scale:g}) must be above 0 and at most {MAX_SCALE:g}; "
            f"the largest result for {width} x {height} is {limit}."
        )
    return max(1, math.floor(width * scale + 0.5)), max(1, math.floor(height * scale + 0.5))


def _resample_axis(image: Tensor, size: int, outputs: slice, *, dim: Literal[-2, -1]) -> Tensor:
    """Return these outputs of an axis resampled to `size`; blocks are shorter where each output reads more."""
    length = image.shape[dim]
    block = max(8, min(64, 64 * size // length))
    return apply_banded(image, partial(_bicubic, length, size), outputs, dim=dim, block=block)


def _bicubic(length: int, size: int, first: int, last: int) -> tuple[int, Tensor]:
    """Return the band that resamples `length` inputs to `size` outputs (Keys 1981, a = -0.5)."""
    ratio = length / size
    stretch = max(ratio, 1.0)
    centers = (torch.arange(first, last, dtype=torch.float64) + 0.5) * ratio
    start = max(math.floor(centers[0].item() - 2 * stretch), 0)
    stop = min(math.ceil(centers[-1].item() + 2 * stretch), length)
    distance = ((torch.arange(start, stop) + 0.5 - centers[:, None]) / stretch).abs()
    near = (1.5 * distance - 2.5) * distance.square() + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
    return start, weights / weights.sum(1, keepdim=True)
