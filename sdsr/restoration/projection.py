"""Back-projection: a result changed as little as makes its reduction the photo again (Irani and Peleg, 1991).

With D the reduction, U the enlargement and y the photo, x + U c is looked for with D (x + U c) = y. The correction c
has the photo's size, and c <- c + (y - D x) - D U c needs D x once: memory grows with the photo, not with the result.

It is exact where the photo is a scaled copy, by bicubic, of what is looked for. A camera's photo is not: its blur is
wider (`kernel_width`), and its noise and its JPEG blocks are the photo's, too. There D undoes a blur, which magnifies
both with each step. So only one is taken, towards what of y - D x stands out of noise (soft thresholding; Donoho,
1995): it brings back what the result lost, and little else.
"""

from dataclasses import dataclass, replace

import numpy as np

from sdsr.images.banded import Band, apply_banded
from sdsr.images.floats import image_array, quantize
from sdsr.images.kernels import KEYS, Kernel, widened
from sdsr.images.reducing import reduce_photo
from sdsr.images.resize import resample
from sdsr.photos.photo import Photo
from sdsr.tensors import Array, Region

TOLERANCE = 0.25 / 255
STEPS = 30
STEPS_OF_BLURRED = 1
STRIP_ROWS = 256
NOISE_DEVIATIONS = 4.0
"""What differs by less, in standard deviations of the difference's fine part, is left: there the result is cleaner.

The universal threshold of 3,000 values, so that next to none of the noise is brought back.
"""
_FINE = 4
"""What a bicubic kernel so many pixels wide removes is fine."""
_MEDIAN_OF_NORMAL = 0.6745


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projection:
    """The changed result, and how far its reduction is from the photo: mean absolute difference, 0 ... 1.

    `exact`: whether all steps that it takes were there to be taken, since the photo is a scaled copy.
    """

    result: Photo
    error: float
    steps: int
    exact: bool


def project(
    result: Photo,
    photo: Photo,
    *,
    kernel_width: float | int = 1,
    tolerance: float = TOLERANCE,
    steps: int | None = None,
) -> Projection:
    """Return the result, changed so that its reduction differs from the photo by `tolerance` on average.

    It is reduced by antialiased bicubic, `kernel_width` times as wide. After `steps` it is taken as it is: 30 of a
    scaled copy (a width of 1), else one, which leaves noise out. Rounding to the result's depth and what [0, 1] cuts
    off come on top; `error` has both. Alpha and traits stay.
    """
    kernel = widened(KEYS, kernel_width)
    exact = kernel is KEYS
    steps = steps or (STEPS if exact else STEPS_OF_BLURRED)
    residual = image_array(photo) - reduce_photo(result, photo.size, kernel=kernel)
    if not exact:
        residual = _beyond_noise(residual)
    correction = np.zeros_like(residual)
    left = residual
    taken = 0
    while taken < steps and float(abs(left).mean()) > tolerance:
        correction = correction + left
        left = residual - _reduced_enlargement(correction, result.size, kernel)
        taken += 1
    changed = _add(result, correction)
    error = abs(image_array(photo) - reduce_photo(changed, photo.size, kernel=kernel)).mean()
    return Projection(result=changed, error=float(error), steps=taken, exact=exact)


def _beyond_noise(residual: np.ndarray) -> np.ndarray:
    """What of a difference stands out of its noise, less as much as noise may have added."""
    fine = residual - resample(residual, residual.shape[-2:], kernel=widened(KEYS, _FINE))
    noise = NOISE_DEVIATIONS * float(np.median(abs(fine))) / _MEDIAN_OF_NORMAL
    return np.sign(residual) * np.maximum(abs(residual) - noise, 0)


def _reduced_enlargement(correction: Array, size: tuple[int, int], kernel: Kernel) -> Array:
    """D U c: what is left of a correction after it was enlarged to `size` and reduced again; U c is never made."""
    height, width = correction.shape[-2:]
    rows = apply_banded(correction, _round_trip(height, size[0], kernel), slice(0, height), dim=-2)
    return apply_banded(rows, _round_trip(width, size[1], kernel), slice(0, width), dim=-1)


def _round_trip(length: int, size: int, kernel: Kernel) -> Band:
    """The map of an axis of `length` that is enlarged to `size` and reduced again."""

    def band(first: int, last: int) -> tuple[int, np.ndarray]:
        start, reducing = kernel.band(size, length, first, last)
        origin, enlarging = KEYS.band(length, size, start, start + reducing.shape[1])
        return origin, reducing @ enlarging

    return band


def _add(result: Photo, correction: np.ndarray) -> Photo:
    """x + U c, rounded to the result's depth."""
    pixels = np.empty_like(result.pixels)
    for strip in Region.grid(result.size, STRIP_ROWS, result.size[1]):
        change = resample(correction, result.size, strip)
        pixels[strip.rows] = quantize(image_array(result, strip) + change, pixels.dtype)
    return replace(result, pixels=pixels)
