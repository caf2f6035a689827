"""Several passes over one photo, each turned and with noise of its own: their mean, and where they disagree.

A network has no reason to restore a mirrored photo otherwise; where it does, the photo does not settle what is there.
The mean is the self-ensemble of arXiv:1707.02921, Section 3.3. Each pass costs as much as the restoration alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sdsr.errors import InputError
from sdsr.photos.luma import luma
from sdsr.photos.photo import Photo
from sdsr.region import Region

MOST_PASSES = 8
Restore = Callable[[Photo, int, bool], Photo]
"""From the photo as it is turned, the number of the pass and whether its sides are swapped, to its result."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Passes:
    """The `first` pass, which is the plain result; the `mean` of all, and their `spread`.

    `spread`: standard deviation of luma over the passes, (height, width), 0 ... 0.5, float32.
    """

    first: Photo
    mean: Photo
    spread: np.ndarray


def run_passes(photo: Photo, restore: Restore, count: int) -> Passes:
    """Restore the photo `count` times, as it is and turned in up to seven ways; raise InputError for another count.

    Memory beyond one result: 28 bytes per pixel of it.
    """
    if not 2 <= count <= MOST_PASSES:
        raise InputError(f"passes (={count}) must be in 2 ... {MOST_PASSES}; one pass has nothing to disagree with.")
    first = restore(photo, 0, False)
    total = first.pixels.astype(np.float64)
    seen = luma(first)
    mean = seen.copy()
    squares = np.zeros_like(seen)
    for number in range(1, count):
        result = turned_back(restore(turned(photo, number), number, swaps(number)), number)
        total += result.pixels
        seen = luma(result)
        away = seen - mean
        mean += away / (number + 1)
        squares += away * (seen - mean)  # Welford 1962
    average = replace(first, pixels=np.rint(total / count).astype(first.pixels.dtype))
    return Passes(first=first, mean=average, spread=np.sqrt(squares / count))


def swaps(number: int) -> bool:
    """Whether this pass swaps width and height."""
    return number >= 4


def turned(photo: Photo, number: int) -> Photo:
    """The photo as pass `number` sees it: mirrored left to right, upside down, or both, and transposed from 4 on."""
    alpha = None if photo.alpha is None else np.ascontiguousarray(_turned(photo.alpha, number))
    return replace(photo, pixels=np.ascontiguousarray(_turned(photo.pixels, number)), alpha=alpha)


def turned_region(region: Region, number: int, size: tuple[int, int]) -> Region:
    """Where a region of a picture of `size` (height, width) is once pass `number` has turned it."""
    if swaps(number):
        region = Region(top=region.left, left=region.top, height=region.width, width=region.height)
        size = size[1], size[0]
    left = size[1] - region.right if number & 1 else region.left
    top = size[0] - region.bottom if number & 2 else region.top
    return replace(region, top=top, left=left)


def turned_back(photo: Photo, number: int) -> Photo:
    """What `turned` undoes."""
    alpha = None if photo.alpha is None else np.ascontiguousarray(_turned_back(photo.alpha, number))
    return replace(photo, pixels=np.ascontiguousarray(_turned_back(photo.pixels, number)), alpha=alpha)


def _turned(values: np.ndarray, number: int) -> np.ndarray:
    return _mirrored(values.swapaxes(0, 1) if swaps(number) else values, number)


def _turned_back(values: np.ndarray, number: int) -> np.ndarray:
    mirrored = _mirrored(values, number)
    return mirrored.swapaxes(0, 1) if swaps(number) else mirrored


def _mirrored(values: np.ndarray, number: int) -> np.ndarray:
    values = values[:, ::-1] if number & 1 else values
    return values[::-1] if number & 2 else values
