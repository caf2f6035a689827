"""Where a photo has text, found by the detector of `rapidocr` (extra `text`), which brings its weights (Apache-2.0).

A detector of lines, PP-OCR's; nothing is read. For faces there is none: no package that is kept brings free weights.
"""

from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from sdsr.errors import InputError
from sdsr.photos.depths import eight_bits
from sdsr.photos.photo import Photo
from sdsr.quiet_runtimes import silence_onnx_runtime
from sdsr.region import Region

MARGIN_PX = 2
"""Around what was found, so that no stroke ends at a border."""
_SURE = 0.6  # of a line's score; stripes and branches come below, printed words above 0.8
_LEAST_PX = 8  # of a side, below which there is nothing to find
_LEAST_REDUCED_PX = 17  # of a side, for the detector to reduce it; it rounds to 32 px
_WANTED_PX = 736  # of the shorter side, to which the detector enlarges by itself, however little there is
_MOST_TIMES = 4  # enlarged more, small photos are all blur, which it takes for one large line
_LONGEST_PX = 2000
_TALL = 0.4  # of the shorter side; taller "lines" are whole pictures, unless the photo is a cut line itself
_TALL_PX = 32


def can_find_text() -> bool:
    """Whether the detector is installed."""
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


def find_text(photo: Photo) -> tuple[Region, ...]:
    """Return the places of lines of text, upright rectangles in the photo's pixels, from top to bottom.

    Small photos are looked at enlarged, by up to 4; those with a side above 2000 px in that size. Raises InputError
    where the detector is missing.
    """
    if not can_find_text():
        raise InputError("the text detector (=rapidocr) is not installed; run: pip install 'sdsr[text]'.")
    reduced = max(photo.size) / _LONGEST_PX
    if min(photo.size) < (_LEAST_PX if reduced <= 1 else _LEAST_REDUCED_PX * reduced):
        return ()
    enlarged = _enlarged(eight_bits(photo.pixels))
    times = np.array(enlarged.shape[1::-1]) / photo.size[::-1]
    blue_first = np.ascontiguousarray(enlarged[:, :, ::-1])
    corners = _detector()(blue_first, use_det=True, use_cls=False, use_rec=False, box_thresh=_SURE).boxes
    lines = [each / times for each in (corners if corners is not None else ())]
    found = [_around(each, photo.size) for each in lines if _thickness(each) <= max(_TALL * min(photo.size), _TALL_PX)]
    return tuple(sorted((place for place in found if place.height and place.width), key=lambda place: place.top))


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """Return a photo as large as it is looked at; itself where it is large enough."""
    height, width = pixels.shape[:2]
    times = min(_MOST_TIMES, _WANTED_PX / min(height, width), _LONGEST_PX / max(height, width))
    if times <= 1:
        return pixels
    size = round(times * width), round(times * height)
    return np.asarray(PillowImage.fromarray(pixels).resize(size, PillowImage.Resampling.BICUBIC))


def _thickness(corners: np.ndarray) -> float:
    """Return how tall a line of four corners is, turned as it may be."""
    first, second, _, last = corners
    return float(min(np.linalg.norm(second - first), np.linalg.norm(last - first)))


def _around(corners: np.ndarray, size: tuple[int, int]) -> Region:
    """Return the rectangle around four corners (x, y), with a margin, within a photo of `size`."""
    left, top = np.floor(corners.min(0)).astype(int) - MARGIN_PX
    right, bottom = np.ceil(corners.max(0)).astype(int) + MARGIN_PX
    rows = np.clip((top, bottom), 0, size[0]).tolist()
    columns = np.clip((left, right), 0, size[1]).tolist()
    return Region(top=rows[0], left=columns[0], height=rows[1] - rows[0], width=columns[1] - columns[0])


@cache
def _detector() -> Any:
    silence_onnx_runtime()
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.use_cls": False,
            "Global.use_rec": False,
            "Global.log_level": "critical",
            "Global.max_side_len": _LONGEST_PX,
            "Det.limit_side_len": 32,  # the least that its network takes: it enlarges nothing by itself
        }
    )
