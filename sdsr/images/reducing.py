"""A large picture of integers, reduced to the size of a small one, strip by strip, and by which kernel it was."""

from collections.abc import Iterator

import numpy as np

from sdsr.array_api import concatenate, like
from sdsr.errors import InputError
from sdsr.images.floats import image_array
from sdsr.images.kernels import KEYS, Kernel, widened
from sdsr.images.resize import resample_axis
from sdsr.photos.photo import Photo
from sdsr.tensors import Float, Region

STRIP_ROWS = 64

WIDTHS = (1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0, 2.4, 2.8, 3.2)
WIDEST = 8.0
SCALED_COPY = 1.3
"""Up to here a photo is taken for a scaled copy: of such ones 1 to 1.3 is estimated, since results are too sharp."""

_EQUAL = 1.001
_NOTHING = (0.1 / 255) ** 2  # of a value's squared error
_LOOKED_AT = 4  # strips, of
_LOOKED_AT_ROWS = 16


def reduce_photo(photo: Photo, size: tuple[int, int], *, kernel: Kernel = KEYS) -> Float[np.ndarray, "1 3 _ _"]:
    """Return the photo at `size` (height, width) in [0, 1], a NumPy array, unclamped; equals `resample` of the whole.

    Memory beyond the result's: the rows that `STRIP_ROWS` rows of it depend on.
    """
    strips = Region.grid(size, STRIP_ROWS, size[1])
    return concatenate([_reduced_rows(photo, size, strip.rows, kernel) for strip in strips], -2)


def estimate_width(result: Photo, photo: Photo) -> float:
    """Return by how wide a kernel, in widths of bicubic's (`WIDTHS`), a result is reduced to its photo most nearly.

    Of a sharp result that is the photo's own blur. 1 says that the photo is a scaled copy. Looked at is what
    shows (alpha above 0) in four strips of 16 rows, in least squares.
    """
    strips = list(_some_rows(_shown_rows(photo)))
    given = [image_array(Photo(pixels=photo.pixels[rows])) for rows in strips]
    shown = [1 if photo.alpha is None else photo.alpha[rows] > 0 for rows in strips]
    errors = []
    for width in WIDTHS:
        kernel = widened(KEYS, width)
        error = 0.0
        for rows, lq, where in zip(strips, given, shown, strict=True):
            error += float(np.square((_reduced_rows(result, photo.size, rows, kernel) - lq) * where).sum())
        errors.append(error)
    best = WIDTHS[int(np.argmax(np.array(errors) <= _EQUAL * min(errors) + _NOTHING * sum(map(np.size, given))))]
    return 1.0 if best <= SCALED_COPY else best


def check_kernel_width(width: float | int | None) -> None:
    """Raise InputError for a width that no reduction has; None stands for an estimate."""
    if width is not None and not 1 <= width <= WIDEST:
        raise InputError(
            f"kernel width (={width:g}) must be 1 (a scaled copy) ... {WIDEST:g} times bicubic's; leave it out to have "
            "it estimated."
        )


def _shown_rows(photo: Photo) -> slice:
    """Return the rows from the first to the last that isn't hidden; all rows where there is none, or no alpha."""
    shown = range(photo.size[0]) if photo.alpha is None else np.flatnonzero(photo.alpha.any(1))
    return slice(int(shown[0]), int(shown[-1]) + 1) if len(shown) else slice(0, photo.size[0])


def _some_rows(rows: slice) -> Iterator[slice]:
    """Yield strips spread over rows, or all of these."""
    height = rows.stop - rows.start
    if height <= _LOOKED_AT * _LOOKED_AT_ROWS:
        yield rows
        return
    for index in range(_LOOKED_AT):
        middle = rows.start + (2 * index + 1) * height // (2 * _LOOKED_AT)
        yield slice(middle - _LOOKED_AT_ROWS // 2, middle + _LOOKED_AT_ROWS // 2)


def _reduced_rows(photo: Photo, size: tuple[int, int], rows: slice, kernel: Kernel) -> Float[np.ndarray, "1 3 _ _"]:
    """Return some rows of a photo reduced to `size`."""
    assert not kernel.clips, "a kernel that clips takes columns first, and has no strips of rows"
    start, matrix = kernel.band(photo.size[0], size[0], rows.start, rows.stop)
    needed = image_array(Photo(pixels=np.ascontiguousarray(photo.pixels[start : start + matrix.shape[1]])))
    return resample_axis(like(matrix, needed) @ needed, size[1], slice(0, size[1]), kernel, dim=-1)
