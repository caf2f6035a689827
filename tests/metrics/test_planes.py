import numpy as np
import pytest
from scipy import ndimage

from sdsr.metrics.planes import blocks, blurred, filtered, gaussian, plane
from sdsr.photos.depths import eight_bits


@pytest.mark.parametrize(("value", "expected"), [(0, 16.0), (255, 235.0)])
def test_y_of_black_and_white_is_16_and_235(value, expected):
    assert plane(np.full((2, 2, 3), value, np.uint8), "y") == pytest.approx(expected)


def test_luma_is_full_range_and_unrounded():
    assert plane(np.array([[[1, 0, 0]]], np.uint8), "luma") == pytest.approx(0.299)


def test_16_bit_pixels_read_as_their_8_bit_equals():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    deep = pixels.astype(np.uint16) * 257
    np.testing.assert_allclose(plane(deep, "y"), plane(pixels, "y"))
    np.testing.assert_array_equal(eight_bits(deep), pixels)


def test_filters_agree_with_scipy():
    image = np.random.default_rng(0).uniform(0, 255, (37, 41))
    taps = gaussian(1.5, 5)
    whole = ndimage.correlate(image, np.outer(taps, taps))
    np.testing.assert_allclose(filtered(image, taps), whole[5:-5, 5:-5])
    np.testing.assert_allclose(blurred(image, 0.6), ndimage.gaussian_filter(image, 0.6))


def test_blocks_come_in_reading_order_without_the_rest():
    image = np.arange(5 * 7, dtype=np.float64).reshape(5, 7)
    cut = blocks(image, 2)
    assert cut.shape == (6, 2, 2)
    np.testing.assert_array_equal(cut[4], image[2:4, 2:4])
