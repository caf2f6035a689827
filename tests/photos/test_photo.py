import numpy as np
import pytest

from sdsr.photos.photo import bleed


@pytest.mark.parametrize("size", [(1, 7), (9, 9), (33, 50)])
def test_bleed_continues_visible_colors_under_transparency(size):
    pixels, alpha = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    pixels[:, : size[1] // 2 + 1], alpha[:, : size[1] // 2 + 1] = (200, 100, 50), 255
    alpha[0, 0], pixels[0, 0] = 1, (200, 100, 50)
    filled = bleed(pixels, alpha)
    assert np.unique(filled.reshape(-1, 3), axis=0).tolist() == [[200, 100, 50]]
    assert pixels[0, -1].tolist() == [0, 0, 0], "the photo itself must stay"


def test_bleed_leaves_visible_pixels_and_fills_from_the_near_side():
    pixels = np.zeros((64, 64, 3), np.uint16)
    pixels[:, :20], pixels[:, 44:] = 60000, 10000
    alpha = np.zeros((64, 64), np.uint16)
    alpha[:, :20] = alpha[:, 44:] = 65535
    filled = bleed(pixels, alpha)
    np.testing.assert_array_equal(filled[alpha > 0], pixels[alpha > 0])
    assert (filled[:, 20:22] > 50000).all()
    assert (filled[:, 42:44] < 20000).all()


@pytest.mark.parametrize("alpha", [0, 9])
def test_bleed_has_nothing_to_do_when_all_or_nothing_is_hidden(alpha):
    pixels = np.full((4, 4, 3), 7, np.uint8)
    assert bleed(pixels, np.full((4, 4), alpha, np.uint8)) is pixels
