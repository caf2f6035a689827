"""Whether a restored picture can be right: its means, of all and of its parts, are near the photo's."""

import numpy as np

from sdsr.errors import ResultError
from sdsr.photos.photo import Photo

MOST_MEAN = 0.15
"""How far the mean of a channel may be from the photo's, as a share of full range."""
MOST_CELL = 0.4
"""The same of a part of both: one that is black, or of another photo, is farther."""
_MOST_CELLS = 8
_LEAST_CELL_PX = 16  # of both, so that their cells are of the same places and none is empty


def check_result(photo: Photo, result: Photo) -> None:
    """Raise ResultError for a result whose brightness or color isn't the photo's, as after an overflow.

    That all values are finite is seen before they become integers (`sdsr.images.floats.quantize`).
    """
    sides = map(min, photo.size, result.size)
    rows, columns = (max(1, min(_MOST_CELLS, side // _LEAST_CELL_PX)) for side in sides)
    off = np.abs(_cell_means(photo.pixels, rows, columns) - _cell_means(result.pixels, rows, columns))
    _refuse_above(MOST_MEAN, float(np.abs(_mean(photo.pixels) - _mean(result.pixels)).max()), "mean color")
    _refuse_above(MOST_CELL, float(off.max()), "color of a part")


def _refuse_above(limit: float, value: float, what: str) -> None:
    if not value <= limit:  # nor is it where it isn't finite
        raise ResultError(
            f"the restored picture's {what} is off the photo's (={value:.2f} of full range, limit {limit}); nothing "
            "was written. Try --color-fix wavelet, or --device cpu."
        )


def _mean(pixels: np.ndarray) -> np.ndarray:
    return pixels.mean((0, 1), dtype=np.float64) / np.iinfo(pixels.dtype).max


def _cell_means(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the means of so many cells, (rows, columns, 3), in [0, 1]."""
    bands = np.array_split(pixels, rows)
    return np.array([[_mean(cell) for cell in np.array_split(band, columns, axis=1)] for band in bands])
