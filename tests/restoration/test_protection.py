"""Protection: the photo where it is asked for, the result elsewhere, a soft border, odd sizes and 16 bits."""

import numpy as np
import pytest

from sdsr.errors import InputError
from sdsr.images.floats import image, quantize
from sdsr.images.resize import resample
from sdsr.photos.photo import Photo
from sdsr.restoration import protection as module
from sdsr.restoration.places import parse_place, place_name
from sdsr.restoration.protection import FEATHER_PX, protect, protection
from sdsr.tensors import Region

PLACE = Region(top=10, left=6, height=8, width=12)


def invented(photo, size: tuple[int, int], dtype: type = np.uint8) -> tuple[Photo, Photo, np.ndarray]:
    """A photo, a "result" that has nothing of it, and the photo enlarged."""
    lq = Photo(pixels=quantize(resample(photo, (24, 32)).clamp(0, 1), dtype))
    enlarged = quantize(resample(image(lq), size).clamp(0, 1), dtype)
    return lq, Photo(pixels=np.iinfo(dtype).max - enlarged, alpha=enlarged[..., 0]), enlarged


@pytest.mark.parametrize(("size", "dtype"), [((96, 128), np.uint8), ((101, 77), np.uint16)])
def test_inside_is_the_photo_and_far_outside_the_result(photo, size, dtype):
    lq, result, enlarged = invented(photo, size, dtype)
    found = protect(result, lq, [PLACE])
    share = protection([PLACE], lq.size, size)
    assert found.pixels.dtype == dtype
    away = np.abs(found.pixels[share == 1].astype(int) - enlarged[share == 1])
    assert away.max() <= (dtype == np.uint16)  # enlarged in strips, whose float32 some processors round apart
    assert np.array_equal(found.pixels[share == 0], result.pixels[share == 0])
    assert found.alpha is result.alpha
    assert (share == 1).mean() == pytest.approx(8 * 12 / (24 * 32), rel=0.1)


def test_a_border_goes_over_linearly():
    share = protection([PLACE], (24, 32), (96, 128))
    row = share[4 * 14]
    steps = np.diff(row[4 * 6 - int(4 * FEATHER_PX) : 4 * 6])
    assert np.allclose(steps, 1 / (4 * FEATHER_PX))
    assert share[:, 4 * 12].max() == 1


def test_strips_equal_the_whole(photo, monkeypatch):
    lq, result, _ = invented(photo, (96, 128))
    places = [PLACE, Region(top=0, left=0, height=3, width=3), Region(top=20, left=28, height=4, width=4)]
    whole = protect(result, lq, places)
    monkeypatch.setattr(module, "STRIP_ROWS", 7)
    assert np.abs(protect(result, lq, places).pixels.astype(int) - whole.pixels).max() <= 1


def test_no_places_change_nothing(photo):
    lq, result, _ = invented(photo, (96, 128))
    assert protect(result, lq, []) is result


@pytest.mark.parametrize(
    "place",
    [
        Region(top=-1, left=0, height=4, width=4),
        Region(top=0, left=30, height=4, width=4),
        Region(top=22, left=0, height=4, width=4),
        Region(top=2, left=2, height=0, width=4),
    ],
)
def test_a_place_beyond_the_photo_is_refused(photo, place):
    lq, result, _ = invented(photo, (96, 128))
    with pytest.raises(InputError, match=r"protect \(=.*\) must be LEFT,TOP,WIDTH,HEIGHT within its photo of 32 x 24"):
        protect(result, lq, [place])


def test_a_place_is_read_as_it_is_named():
    assert place_name(parse_place("6,10,12,8")) == "6,10,12,8"
    assert parse_place("6, 10,12,8") == PLACE


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "-1,2,3,4", "1.5,2,3,4", "face"])
def test_another_place_is_refused(text):
    with pytest.raises(InputError, match=r"protect \(=.*\) must be LEFT,TOP,WIDTH,HEIGHT in pixels of the photo"):
        parse_place(text)
