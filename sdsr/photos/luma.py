"""Luma of photos (ITU-R BT.601, full range)."""

import numpy as np

from sdsr.photos.photo import Photo

LUMA = np.array((0.299, 0.587, 0.114), np.float32)


def luma(photo: Photo) -> np.ndarray:
    """Return luma in 0 ... 1, float32, (height, width)."""
    return (photo.pixels @ LUMA) / np.float32(np.iinfo(photo.pixels.dtype).max)
