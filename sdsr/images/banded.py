"""Linear maps along one axis of an image, in which each output depends on a few inputs nearby.

Resampling and blurring are such maps. Applied in blocks as small dense matrices, they run at a matrix product's rate.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Band = Callable[[int, int], tuple[int, Tensor]]
"""From outputs `first` ... `last` (excluded) to the first input they need and their part of the map's matrix."""


def apply_banded(
    image: Float[Tensor, "b c height width"],
    band: Band,
    outputs: slice,
    *,
    dim: Literal[-2, -1],
    block: int = 64,
) -> Float[Tensor, "b c _ _"]:
    """Return the outputs `outputs` of the map along `dim`, in float32 or wider (under autocast, too)."""
    image = image.to(torch.promote_types(image.dtype, torch.float32))
    parts = []
    with torch.autocast(image.device.type, enabled=False):
        for first in range(outputs.start, outputs.stop, block):
            start, matrix = band(first, min(first + block, outputs.stop))
            inputs = image.narrow(dim, start, matrix.shape[1])
            matrix = matrix.to(image)
            parts.append(matrix @ inputs if dim == -2 else inputs @ matrix.mT)
    return torch.cat(parts, dim)
