"""Consistency: a result brought back to the size of its photo, against that photo.

What a result shows beyond the photo can't be checked against it; what contradicts the photo can. A real photo is no
bicubic reduction of anything, so even the truth is not consistent to the last bit (RealSR's: 31.1 dB), and a sharp
result of a blurred photo less so. By a kernel as wide as the photo's blur, what is left is the contradiction.
"""

from dataclasses import dataclass

import numpy as np

from sdsr.errors import InputError
from sdsr.images.floats import image_array
from sdsr.images.kernels import KEYS, widened
from sdsr.images.reducing import check_kernel_width, estimate_width, reduce_photo
from sdsr.photos.luma import LUMA
from sdsr.photos.photo import Photo

LOW_PSNR_DB = 26.0
"""Below, a result contradicts its photo where the eye sees it; colors or shapes are not those of the photo."""

ROUNDED_PX = 8
"""So many pixels a side of a result may be off its photo's proportions: some programs round to multiples of 8."""

SLIGHT = 12 / 255
"""Nine tenths of a true picture's pixels are no further from its photo, by an estimated kernel; 99 % by `STRONG`.

Of RealSR's (20 pairs, 128 px of each photo) 11.2 % are further than 12 of 255, 1.4 % than 24.
"""
STRONG = 24 / 255

_STUDIO_RANGE = 219 / 255


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Consistency:
    """`map`: mean absolute difference of the channels at the photo's size (height, width), 0 ... 1, float32.

    `psnr_db`: PSNR-Y as tables have it (BT.601, 16 ... 235) over the whole photo; infinity where nothing differs.
    `kernel_width`: of the kernel that reduced, in widths of bicubic's.
    """

    map: np.ndarray
    psnr_db: float
    kernel_width: float | int

    @property
    def low(self) -> bool:
        """Whether the result contradicts its photo so much that a user should be told."""
        return self.psnr_db < LOW_PSNR_DB


def measure_consistency(result: Photo, photo: Photo, *, kernel_width: float | int | None = 1) -> Consistency:
    """Return how a result, reduced to the size of the photo that it was made of, differs from it.

    It is reduced by antialiased bicubic, `kernel_width` times as wide; None estimates that. What the photo hides (alpha
    of 0) counts as equal. Raises InputError for a result that is smaller than its photo or of other proportions, and a
    width out of 1 ... 8.
    """
    check_pair(result, photo)
    check_kernel_width(kernel_width)
    width = estimate_width(result, photo) if kernel_width is None else kernel_width
    difference = reduce_photo(result, photo.size, kernel=widened(KEYS, width)).clip(0, 1) - image_array(photo)
    if photo.alpha is not None:
        difference = difference * (photo.alpha > 0)
    luma = (difference * LUMA[:, None, None]).sum(1)
    error = float(np.square(luma * _STUDIO_RANGE, dtype=np.float64).mean())
    psnr_db = float("inf") if error == 0 else -10 * float(np.log10(error))
    return Consistency(map=abs(difference).mean(1)[0], psnr_db=psnr_db, kernel_width=width)


def check_pair(result: Photo, photo: Photo) -> None:
    """Raise InputError for a result that is smaller than its photo, or of other proportions (beyond `ROUNDED_PX`)."""
    if result.size[0] < photo.size[0] or result.size[1] < photo.size[1]:
        raise InputError(
            f"result (={result.size[1]} x {result.size[0]} px) must be at least as large as its photo "
            f"({photo.size[1]} x {photo.size[0]} px); give the photo that it was made of."
        )
    down = result.size[0] / photo.size[0]
    across = result.size[1] / photo.size[1]
    if abs(down - across) > ROUNDED_PX / photo.size[0] + ROUNDED_PX / photo.size[1]:
        raise InputError(
            f"result (={result.size[1]} x {result.size[0]} px) must have the proportions of its photo "
            f"({photo.size[1]} x {photo.size[0]} px), to {ROUNDED_PX} px; give the photo that it was made of, cut and "
            "turned as the result is."
        )
