"""Consistency: zero for what reduces to its photo, its map where the difference is, no word on what alpha hides."""

import numpy as np
import pytest

from sdsr.errors import InputError
from sdsr.images.floats import image, quantize
from sdsr.images.reducing import STRIP_ROWS, reduce_photo
from sdsr.images.resize import resample
from sdsr.metrics.measures import psnr
from sdsr.metrics.planes import plane
from sdsr.photos.photo import Photo
from sdsr.trust.consistency import measure_consistency


@pytest.fixture
def truth(photo) -> Photo:
    return Photo(pixels=quantize(photo, np.uint16))


@pytest.fixture
def lq(truth) -> Photo:
    return Photo(pixels=quantize(resample(image(truth), (24, 32)), np.uint16))


def test_the_truth_is_consistent_with_its_reduction(truth, lq):
    found = measure_consistency(truth, lq)
    assert found.map.shape == (24, 32)
    assert found.map.max() < 1e-4
    assert found.psnr_db > 80
    assert not found.low


def test_the_map_shows_where_a_result_contradicts(truth, lq):
    pixels = truth.pixels.copy()
    pixels[:48, :64] = 65535 - pixels[:48, :64]
    found = measure_consistency(Photo(pixels=pixels), lq)
    assert found.map[:10, :14].mean() > 20 * found.map[14:, 18:].mean()
    assert found.low


def test_what_alpha_hides_counts_as_equal(truth, lq):
    pixels = lq.pixels.copy()
    pixels[:, 16:] = 65535 - pixels[:, 16:]
    alpha = np.full(lq.size, 65535, np.uint16)
    alpha[:, 16:] = 0
    found = measure_consistency(truth, Photo(pixels=pixels, alpha=alpha))
    assert found.map[:, 16:].max() == 0
    assert found.psnr_db > 80


def test_the_psnr_is_that_of_tables(truth, lq):
    brighter = Photo(pixels=(lq.pixels + np.uint16(8 * 257)).clip(0, 65535))
    other = measure_consistency(truth, brighter)
    ours = quantize(resample(image(truth), lq.size), np.uint16)
    assert other.psnr_db == pytest.approx(psnr(plane(ours, "y"), plane(brighter.pixels, "y")), abs=0.05)


def test_strips_equal_the_whole():
    height = 2 * STRIP_ROWS + 3
    pixels = np.random.default_rng(0).integers(0, 256, (3 * height + 1, 40, 3), dtype=np.uint8)
    whole = resample(image(Photo(pixels=pixels)), (height, 17))
    np.testing.assert_allclose(reduce_photo(Photo(pixels=pixels), (height, 17)), whole.numpy(), atol=1e-5)


def test_a_result_smaller_than_its_photo_is_refused(truth, lq):
    with pytest.raises(InputError, match=r"result \(=32 x 24 px\) must be at least as large as its photo"):
        measure_consistency(lq, truth)


def test_a_result_of_other_proportions_is_refused_and_rounded_sides_are_not():
    lq, wide, square = (Photo(pixels=np.zeros((*size, 3), np.uint8)) for size in ((160, 240), (648, 956), (640, 640)))
    assert measure_consistency(wide, lq).psnr_db == float("inf")
    with pytest.raises(
        InputError, match=r"result \(=640 x 640 px\) must have the proportions of its photo \(240 x 160 px\)"
    ):
        measure_consistency(square, lq)
