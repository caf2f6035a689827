"""By how wide a kernel a photo was reduced: what was done is found, and a scaled copy is taken for one."""

import numpy as np
import pytest

from sdsr.errors import InputError
from sdsr.images.floats import image, quantize
from sdsr.images.kernels import KEYS, widened
from sdsr.images.reducing import WIDTHS, check_kernel_width, estimate_width
from sdsr.images.resize import resample
from sdsr.photos.photo import Photo


@pytest.fixture
def truth(photo) -> Photo:
    """The photo, tiled to a height of which not all is looked at."""
    return Photo(pixels=np.tile(quantize(photo, np.uint8), (4, 1, 1)))


@pytest.mark.parametrize("width", [1.0, 1.4, 1.8, 2.4])
@pytest.mark.parametrize("size", [(96, 32), (131, 45)])
def test_the_width_that_was_is_found(truth, width, size):
    lq = quantize(resample(image(truth), size, kernel=widened(KEYS, width)), np.uint8)
    assert estimate_width(truth, Photo(pixels=lq)) == width
    noisy = (lq + np.random.default_rng(0).normal(0, 2, lq.shape)).round().clip(0, 255).astype(np.uint8)
    assert estimate_width(truth, Photo(pixels=noisy)) == pytest.approx(width, abs=0.41)


def test_what_is_hidden_tells_nothing(truth):
    lq = quantize(resample(image(truth), (96, 32), kernel=widened(KEYS, 1.8)), np.uint8)
    alpha = np.full((96, 32), 255, np.uint8)
    alpha[:70] = 0
    lq[:70] = np.random.default_rng(0).integers(0, 256, (70, 32, 3), dtype=np.uint8)
    assert estimate_width(truth, Photo(pixels=lq, alpha=alpha)) == 1.8
    assert estimate_width(truth, Photo(pixels=lq, alpha=np.zeros_like(alpha))) == 1


@pytest.mark.parametrize("size", [(1, 1), (24, 32)])
def test_what_tells_nothing_is_a_scaled_copy(size):
    flat = Photo(pixels=np.full((96, 128, 3), 80, np.uint8))
    assert estimate_width(flat, Photo(pixels=np.full((*size, 3), 80, np.uint8))) == 1


def test_what_is_hardly_blurred_is_a_scaled_copy(truth):
    lq = quantize(resample(image(truth), (96, 32), kernel=widened(KEYS, 1.2)), np.uint8)
    assert estimate_width(truth, Photo(pixels=lq)) == 1


def test_widths_are_sorted_and_allowed():
    assert list(WIDTHS) == sorted(WIDTHS)
    for width in (None, *WIDTHS):
        check_kernel_width(width)


@pytest.mark.parametrize("width", [0.9, 8.5, float("nan"), float("inf")])
def test_other_widths_are_told_of(width):
    with pytest.raises(InputError, match=r"kernel width \(=.*\) must be 1"):
        check_kernel_width(width)
