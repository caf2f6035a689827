"""Resampling to a size: in parts, if the whole is too much."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sdsr.errors import InputError
from sdsr.images.banded import apply_banded
from sdsr.images.kernels import KEYS, Kernel
from sdsr.tensors import Region


def resample(
    image: Float[Tensor, "b c height width"],
    size: tuple[int, int],
    region: Region | None = None,
    *,
    kernel: Kernel = KEYS,
) -> Float[Tensor, "b c _ _"]:
    """Return the image at `size` (height, width), or only the part `region` of that result.

    By default bicubic (a = -0.5), antialiased when shrinking: Pillow's filter, and that of
    `F.interpolate(..., antialias=True)`. A part equals the crop of the whole, and reads only the rows and columns it
    needs. Nothing is clamped, but by a kernel that clips.
    """
    if min(size) < 1:
        raise InputError(f"size (={size[0]} x {size[1]}) must be at least 1 x 1; choose a larger one.")
    region = region or Region.whole(*size)
    if min(region.top, region.left) < 0 or region.bottom > size[0] or region.right > size[1]:
        raise InputError(f"region (={region}) must lie within the result of {size[0]} x {size[1]}; clip it.")
    if kernel.clips:
        result = _resample_axis(image, size[1], region.columns, kernel, dim=-1).clamp(0, 1)
        return _resample_axis(result, size[0], region.rows, kernel, dim=-2).clamp(0, 1).to(image.dtype)
    result = _resample_axis(image, size[0], region.rows, kernel, dim=-2)
    return _resample_axis(result, size[1], region.columns, kernel, dim=-1).to(image.dtype)


def pad_to_multiple(
    image: Float[Tensor, "b c height width"], multiple: int
) -> tuple[Float[Tensor, "b c _ _"], tuple[int, int]]:
    """Return the image, grown at the bottom and right to multiples of `multiple`, and its size before.

    What is added mirrors the image; where the image is too small for that, its last row or column is repeated.
    """
    height, width = image.shape[-2:]
    down = -height % multiple
    right = -width % multiple
    padded = F.pad(image, (0, 0, 0, down), mode="reflect" if down < height else "replicate")
    padded = F.pad(padded, (0, right, 0, 0), mode="reflect" if right < width else "replicate")
    return padded, (height, width)


def crop(image: Float[Tensor, "b c height width"], size: tuple[int, int]) -> Float[Tensor, "b c _ _"]:
    """Return the top left part of `size` (height, width), which undoes `pad_to_multiple`."""
    return image[..., : size[0], : size[1]]


def _resample_axis(image: Tensor, size: int, outputs: slice, kernel: Kernel, *, dim: Literal[-2, -1]) -> Tensor:
    """Return these outputs of an axis resampled to `size`; blocks are shorter where each output reads more."""
    length = image.shape[dim]
    block = max(8, min(64, 64 * size // length))

    def band(first: int, last: int) -> tuple[int, Tensor]:
        start, weights = kernel.band(length, size, first, last)
        return start, torch.from_numpy(weights)

    return apply_banded(image, band, outputs, dim=dim, block=block)
