import math

import pytest

from sdsr.errors import InputError
from sdsr.photos.sizes import output_size


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [
        ((640, 480), {"scale": 4}, (2560, 1920)),
        ((121, 75), {"scale": 2.5}, (303, 188)),
        ((3, 5), {"scale": 0.1}, (1, 1)),
        ((100, 3), {"scale": 0.25}, (25, 1)),
        ((640, 480), {"to_width": 1000}, (1000, 750)),
        ((640, 480), {"to_height": 1000}, (1333, 1000)),
        ((640, 480), {"to_width": 1000, "to_height": 751}, (1000, 751)),
        ((4000, 3), {"to_width": 8000, "to_height": 6}, (8000, 6)),
        ((200, 50), {"megapixels": 1}, (2000, 500)),
        ((10, 10), {"scale": 16}, (160, 160)),
    ],
)
def test_output_size(size, target, expected):
    assert output_size(*size, **target) == expected


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({}, r"target \(=nothing\)"),
        ({"scale": 2, "to_width": 100}, r"target \(=scale and width\)"),
        ({"scale": 0}, r"scale \(=0\)"),
        ({"scale": -1.5}, r"scale \(=-1.5\)"),
        ({"scale": math.nan}, r"scale \(=nan\)"),
        ({"scale": math.inf}, r"scale \(=inf\)"),
        ({"scale": 16.1}, "largest result for 100 x 50 is 1600 x 800"),
        ({"to_width": 1601}, r"scale \(=16.01\)"),
        ({"to_height": 0}, r"scale \(=0\)"),
        ({"megapixels": 1000}, "at most 16"),
        ({"megapixels": -1}, r"scale \(=0\)"),
        ({"to_width": 400, "to_height": 400}, "or 400 x 200"),
        ({"to_width": 1600, "to_height": 900}, "scale"),
    ],
)
def test_impossible_sizes_say_what_is_possible(target, message):
    with pytest.raises(InputError, match=message):
        output_size(100, 50, **target)


def test_an_empty_photo_is_an_error():
    with pytest.raises(InputError, match="0 x 5"):
        output_size(0, 5, scale=2)
