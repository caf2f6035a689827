"""Protection: places of a photo in which a result shows the photo itself, enlarged, and nothing that a model made.

What a model invents in letters, faces and plates can be read as if it were known. Enlarged by `KEYS`, such a place
holds what the photo holds: blurred, with its noise, and true to it. Beyond its border the result comes back linearly.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sdsr.images.floats import image_array, quantize
from sdsr.images.kernels import KEYS
from sdsr.images.resize import resample
from sdsr.photos.photo import Photo
from sdsr.restoration.places import check_places
from sdsr.tensors import Region

FEATHER_PX = 2.0
"""Beyond a place, over so many pixels of the photo, it goes over into the result."""
STRIP_ROWS = 256


def protect(result: Photo, photo: Photo, places: Sequence[Region]) -> Photo:
    """Return the result with the photo, enlarged, in places that are counted in the photo's pixels.

    Alpha and traits stay. Memory beyond the result's: the photo in float32 and strips of `STRIP_ROWS` rows. Raises
    InputError for a place that is not within the photo.
    """
    check_places(places, photo.size)
    if not places:
        return result
    pixels = result.pixels.copy()
    given = image_array(photo)
    for strip in Region.grid(result.size, STRIP_ROWS, result.size[1]):
        weights = protection(places, photo.size, result.size, strip.rows)
        lines = np.flatnonzero(weights.any(1))
        columns = np.flatnonzero(weights.any(0))
        if not len(lines):
            continue
        inner = Region(
            top=int(lines[0]), left=int(columns[0]), height=int(np.ptp(lines)) + 1, width=int(np.ptp(columns)) + 1
        )
        part = replace(inner, top=strip.top + inner.top)
        enlarged = resample(given, result.size, part, kernel=KEYS).clip(0, 1)
        made = image_array(result, part)
        share = weights[inner.rows, inner.columns]
        pixels[part.rows, part.columns] = quantize((1 - share) * made + share * enlarged, pixels.dtype)
    return replace(result, pixels=pixels)


def protection(
    places: Sequence[Region], photo: tuple[int, int], size: tuple[int, int], rows: slice | None = None
) -> np.ndarray:
    """Return the share of the photo in some rows of a result of `size`, (rows, width), 0 ... 1, float32."""
    rows = rows or slice(0, size[0])
    weights = np.zeros((rows.stop - rows.start, size[1]), np.float32)
    down = (np.arange(rows.start, rows.stop) + 0.5) * photo[0] / size[0]
    across = (np.arange(size[1]) + 0.5) * photo[1] / size[1]
    for place in places:
        vertical = _ramp(down, place.rows)
        horizontal = _ramp(across, place.columns)
        np.maximum(weights, np.minimum(vertical[:, None], horizontal), out=weights)
    return weights


def _ramp(centers: np.ndarray, lines: slice) -> np.ndarray:
    """Return one inside of the lines, falling to zero within `FEATHER_PX` beyond them; for centers of pixels."""
    beyond = np.maximum(lines.start - centers, centers - lines.stop).clip(min=0)
    return (1 - beyond / FEATHER_PX).clip(min=0).astype(np.float32)
