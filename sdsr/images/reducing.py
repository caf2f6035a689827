"""A large picture of integers, reduced to the size of a small one, strip by strip."""

import numpy as np
from jaxtyping import Float

from sdsr.array_api import concatenate, like
from sdsr.images.floats import image_array
from sdsr.images.kernels import KEYS, Kernel
from sdsr.images.resize import resample
from sdsr.photos.photo import Photo

STRIP_ROWS = 64


def reduce_photo(photo: Photo, size: tuple[int, int], *, kernel: Kernel = KEYS) -> Float[np.ndarray, "1 3 _ _"]:
    """Return the photo at `size` (height, width) in [0, 1], a NumPy array, unclamped; equals `resample` of the whole.

    Memory beyond the result's: the rows that `STRIP_ROWS` rows of it depend on.
    """
    assert not kernel.clips, "a kernel that clips takes columns first, and has no strips of rows"
    strips = []
    for first in range(0, size[0], STRIP_ROWS):
        last = min(first + STRIP_ROWS, size[0])
        start, matrix = kernel.band(photo.size[0], size[0], first, last)
        rows = image_array(Photo(pixels=np.ascontiguousarray(photo.pixels[start : start + matrix.shape[1]])))
        strips.append(resample(like(matrix, rows) @ rows, (last - first, size[1]), kernel=kernel))
    return concatenate(strips, -2)
