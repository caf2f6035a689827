"""Back-projection: the reduction becomes the photo, what is consistent stays, odd sizes and depths."""

import numpy as np
import pytest
import torch

from sdsr.images.floats import image, image_array, quantize
from sdsr.images.kernels import KEYS, widened
from sdsr.images.reducing import reduce_photo
from sdsr.images.resize import resample
from sdsr.photos.photo import Photo
from sdsr.restoration.projection import _reduced_enlargement, project


def reduced(photo: Photo, size: tuple[int, int], dtype: type = np.uint8) -> Photo:
    return Photo(pixels=quantize(resample(image(photo), size), dtype))


@pytest.mark.parametrize(("size", "dtype"), [((24, 32), np.uint8), ((24, 32), np.uint16), ((31, 45), np.uint8)])
def test_the_reduction_becomes_the_photo(photo, size, dtype):
    truth = Photo(pixels=quantize(0.1 + 0.8 * photo, dtype))
    lq = reduced(truth, size, dtype)
    blurred = Photo(pixels=quantize(resample(image(reduced(truth, (8, 11), dtype)), truth.size), dtype))
    before = (image(reduced(blurred, size, dtype)) - image(lq)).abs().mean()
    found = project(blurred, lq)
    assert before > 4 / 255
    assert found.error < 0.5 / 255
    assert found.result.pixels.dtype == dtype
    assert (image(found.result) - image(truth)).abs().mean() < (image(blurred) - image(truth)).abs().mean()


def test_of_a_blurred_photo_what_the_result_lost_comes_back_in_one_step(photo):
    truth = Photo(pixels=quantize(0.1 + 0.8 * photo, np.uint16))
    wide = widened(KEYS, 1.6)
    lq = Photo(pixels=quantize(resample(image(truth), (24, 32), kernel=wide), np.uint16))
    soft = Photo(pixels=quantize(resample(image(reduced(truth, (16, 21), np.uint16)), truth.size), np.uint16))
    found = project(soft, lq, kernel_width=1.6)
    assert found.steps == 1
    assert not found.exact
    assert found.error < 0.7 * abs(reduce_photo(soft, lq.size, kernel=wide) - image_array(lq)).mean()
    assert (image(found.result) - image(truth)).abs().mean() < (image(soft) - image(truth)).abs().mean()


def test_what_is_consistent_stays(photo):
    truth = Photo(pixels=quantize(photo, np.uint16))
    found = project(truth, reduced(truth, (24, 32), np.uint16))
    assert found.steps == 0
    assert np.array_equal(found.result.pixels, truth.pixels)


def test_the_round_trip_is_enlarging_and_reducing(photo):
    small = resample(photo, (21, 30))
    direct = resample(resample(small, (97, 111)), (21, 30))
    assert torch.allclose(_reduced_enlargement(small, (97, 111), KEYS), direct, atol=1e-5)
