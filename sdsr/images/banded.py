"""Linear maps along one axis of an image, in which each output depends on a few inputs nearby.

Resampling and blurring are such maps. Applied in blocks as small dense matrices, they run at a matrix product's rate.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from sdsr.array_api import concatenate, full_precision, like, one_thread, widen
from sdsr.tensors import Array, Float

Band = Callable[[int, int], tuple[int, np.ndarray]]
"""From outputs `first` ... `last` (excluded) to the first input they need and their part of the map's matrix, float64.
"""


def apply_banded(
    image: Float[Array, "b c height width"],
    band: Band,
    outputs: slice,
    *,
    dim: Literal[-2, -1],
    block: int = 64,
) -> Float[Array, "b c _ _"]:
    """Return the outputs `outputs` of the map along `dim`, in float32 or wider (under autocast, too)."""
    image = widen(image)
    parts = []
    with full_precision(image), one_thread(image):
        for first in range(outputs.start, outputs.stop, block):
            start, matrix = band(first, min(first + block, outputs.stop))
            reads = slice(start, start + matrix.shape[1])
            matrix = like(matrix, image)
            parts.append(matrix @ image[..., reads, :] if dim == -2 else image[..., reads] @ matrix.mT)
    return concatenate(parts, dim)
