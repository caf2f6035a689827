"""Resampling to a size: in parts, if the whole is too much."""

from typing import Literal

import numpy as np

from sdsr.array_api import like
from sdsr.errors import InputError
from sdsr.images.banded import apply_banded
from sdsr.images.kernels import KEYS, Kernel
from sdsr.tensors import Array, Float, Region


def resample(
    image: Float[Array, "b c height width"],
    size: tuple[int, int],
    region: Region | None = None,
    *,
    kernel: Kernel = KEYS,
) -> Float[Array, "b c _ _"]:
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
        result = resample_axis(image, size[1], region.columns, kernel, dim=-1).clip(0, 1)
        return like(resample_axis(result, size[0], region.rows, kernel, dim=-2).clip(0, 1), image)
    result = resample_axis(image, size[0], region.rows, kernel, dim=-2)
    return like(resample_axis(result, size[1], region.columns, kernel, dim=-1), image)


def resample_axis(image: Array, size: int, outputs: slice, kernel: Kernel, *, dim: Literal[-2, -1]) -> Array:
    """Return these outputs of an axis resampled to `size`, in float32 or wider.

    Blocks are shorter where each output reads more.
    """
    length = image.shape[dim]
    block = max(8, min(64, 64 * size // length))

    def band(first: int, last: int) -> tuple[int, np.ndarray]:
        return kernel.band(length, size, first, last)

    return apply_banded(image, band, outputs, dim=dim, block=block)
