"""The weights of windows in StableSR's published code (arXiv:2305.07015), which ours are held against."""

import math
from functools import partial

import numpy as np

from sdsr.tensors import Float32


def gaussian_weight(
    height: int, width: int, variance: float = 0.01, *, published: bool = False
) -> Float32[np.ndarray, "{height} {width}"]:
    """Return the weights of a window's cells: a Gaussian around its center, `variance` in units of its size squared.

    Deviation: the published code centers rows half a cell too low; `published` does so too.
    """
    rows = _gaussian(height, height / 2 if published else (height - 1) / 2, variance)
    return (rows[:, None] * _gaussian(width, (width - 1) / 2, variance)).astype(np.float32)


published_weight = partial(gaussian_weight, published=True)
"""The weights of StableSR's published code, as `weight` of `blend`."""


def _gaussian(length: int, center: float, variance: float) -> np.ndarray:
    distance = (np.arange(length) - center) / length
    return np.exp(-(distance**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
