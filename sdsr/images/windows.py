"""Cover a canvas with overlapping windows, and blend what was computed in each.

Aggregation sampling of StableSR (arXiv:2305.07015, Sec. 3.4). A canvas is an image, or a latent.
"""

import math
from collections.abc import Callable, Iterable
from itertools import chain

import numpy as np

from sdsr.array_api import like, widen, zeros
from sdsr.errors import InputError
from sdsr.tensors import Float, Float32, Region, Tensor


def cover(height: int, width: int, *, window: int, overlap: int) -> tuple[Region, ...]:
    """Return the fewest windows, `window - overlap` apart, that cover the canvas; the last ones end at its border.

    Windows are square, or as small as the canvas where that is smaller. They come row by row, the published code's
    column by column: a difference for random numbers drawn in passing, not for the blend.
    """
    if not 0 <= overlap < window:
        raise InputError(
            f"overlap (={overlap}) must be in 0 ... {window - 1}, less than the window (={window}); try {window // 2}."
        )
    if min(height, width) < 1:
        raise InputError(f"canvas (={height} x {width}) is empty; both sizes must be at least 1.")
    tops, lefts = (_offsets(length, window, window - overlap) for length in (height, width))
    size = {"height": min(window, height), "width": min(window, width)}
    return tuple(Region(top=top, left=left, **size) for top in tops for left in lefts)


Weight = Callable[[int, int], Float32[np.ndarray, "_ _"]]
"""(height, width) of a window -> the weights of its cells."""


def tapered_weight(height: int, width: int) -> Float32[np.ndarray, "{height} {width}"]:
    """Return the weights of a window's cells: the squared distance from the border, along both axes.

    Where two windows overlap, one fades into the other across most of the overlap, and cells at a border, which saw
    padding instead of neighbors, hardly count. A narrow Gaussian, as published, changes over within a few cells, which
    can be told by the step in texture.
    """
    rows, columns = (
        1 - np.abs(2 * np.arange(side, dtype=np.float32) + 1 - side) / (side + 1) for side in (height, width)
    )
    return (rows[:, None] * columns) ** 2


def blend(
    values: Iterable[tuple[Region, Float[Tensor, "b c _ _"]]],
    size: tuple[int, int],
    *,
    weight: Weight = tapered_weight,
) -> Float[Tensor, "b c height width"]:
    """Return the canvas of `size` (height, width) on which each cell is the weighted mean of the windows that cover it.

    Windows are consumed one by one, so they need not exist at the same time. Sums are in float32 or wider.
    """
    windows = iter(values)
    first_region, first = next(windows)
    wide = widen(first)
    total = zeros((*first.shape[:2], *size), wide)
    weights = zeros(size, wide)
    for region, value in chain([(first_region, first)], windows):
        share = like(weight(region.height, region.width), weights)
        total[region.slices] += value * share
        weights[region.slices] += share
    assert bool((weights > 0).all()), f"the windows leave cells of the canvas {size} uncovered"
    total /= weights
    return like(total, first)


def _offsets(length: int, window: int, stride: int) -> tuple[int, ...]:
    count = 1 + math.ceil(max(length - window, 0) / stride)
    return tuple(min(k * stride, max(length - window, 0)) for k in range(count))
