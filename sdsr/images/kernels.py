"""Kernels of resampling as values: which filter, and what it does at the border and beyond [0, 1].

Bicubic enlargement differs from library to library, by up to 17/255 at an edge, and a network was trained to one of
them. All are separable; what is given for each is the weight of an input by its distance. Weights are float64, and no
tensors, so that a canvas can be laid out without torch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A filter of resampling, told the distance in inputs: `weight(distance)`, zero from `reach` on.

    `antialias`: whether the filter is stretched in shrinking. `repeats`: whether the first and last input stand for
    what is beyond them; else the weights of the inputs that there are are scaled to a sum of one. `clips`: whether
    columns are resampled first, and values are clipped to [0, 1] after each direction, as in images of 8 bits.
    """

    name: str
    weight: Callable[[np.ndarray], np.ndarray]
    reach: int
    antialias: bool = True
    repeats: bool = False
    clips: bool = False

    def band(self, length: int, size: int, first: int, last: int) -> tuple[int, np.ndarray]:
        """Return the band of `images.banded` that resamples `length` inputs to `size` outputs."""
        ratio = length / size
        stretch = max(ratio, 1.0) if self.antialias else 1.0
        centers = (np.arange(first, last) + 0.5) * ratio
        start = math.floor(centers[0] - self.reach * stretch)
        stop = math.ceil(centers[-1] + self.reach * stretch)
        if not self.repeats:
            start = max(start, 0)
            stop = min(stop, length)
        inputs = np.arange(start, stop)
        weights = self.weight(np.abs((inputs + 0.5 - centers[:, None]) / stretch))
        if not self.repeats:
            return start, weights / weights.sum(1, keepdims=True)
        there = inputs.clip(0, length - 1)
        least = int(there[0])
        folded = np.zeros((len(weights), int(there[-1]) - least + 1))
        np.add.at(folded.T, there - least, weights.T)
        return least, folded


def cubic(a: float, distance: np.ndarray) -> np.ndarray:
    """Return the weights of cubic convolution (Keys 1981)."""
    near = ((a + 2) * distance - (a + 3)) * np.square(distance) + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))


def widened(kernel: Kernel, width: float | int) -> Kernel:
    """Return the kernel, so many times as wide (1 or more): a reduction after which a lens or a scan blurred, too."""
    if width == 1:
        return kernel
    return replace(
        kernel,
        name=f"{kernel.name} x{width:g}",
        weight=lambda distance: kernel.weight(distance / width),
        reach=math.ceil(kernel.reach * width),
    )


def _keys(distance: np.ndarray) -> np.ndarray:
    return cubic(-0.5, distance)


def _sharper(distance: np.ndarray) -> np.ndarray:
    return cubic(-0.75, distance)


def _lanczos(distance: np.ndarray) -> np.ndarray:
    return np.where(distance < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)


KEYS = Kernel(name="keys", weight=_keys, reach=2)
"""Bicubic with a = -0.5 and antialiasing: Pillow's on floats, and `F.interpolate(..., antialias=True)`."""

TORCH_BICUBIC = Kernel(name="torch bicubic", weight=_sharper, reach=2, antialias=False, repeats=True)
"""`F.interpolate(..., mode="bicubic")`: a = -0.75, no antialiasing, the border repeated."""

PILLOW_BICUBIC = Kernel(name="pillow bicubic", weight=_keys, reach=2, clips=True)
"""Pillow's on images of 8 bits, which can't overshoot. Deviation: nothing is rounded in between (at most 1.5/255)."""

PILLOW_LANCZOS = Kernel(name="pillow lanczos", weight=_lanczos, reach=3, clips=True)
"""Pillow's on images of 8 bits, unrounded."""

KERNELS = {kernel.name: kernel for kernel in (KEYS, TORCH_BICUBIC, PILLOW_BICUBIC, PILLOW_LANCZOS)}
"""All of them, by the names that files have for them."""
