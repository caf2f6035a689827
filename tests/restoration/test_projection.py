"""Back-projection: the reduction becomes the photo, what is consistent stays, odd sizes and depths."""

import numpy as np
import pytest
import torch

from sdsr.images.floats import image, image_array, quantize
from sdsr.images.kernels import KEYS, widened
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


def noisy_reduction(truth: np.ndarray) -> Photo:
    """A camera's photo of a truth: blurred, with noise of 3 levels."""
    blurred = resample(truth, (24, 32), kernel=widened(KEYS, 1.6))
    noise = np.random.default_rng(0).normal(0, 3 / 255, blurred.shape)
    return Photo(pixels=quantize(blurred + noise, np.uint8))


def test_of_a_blurred_photo_only_what_stands_out_of_noise_comes_back(photo):
    truth = 0.1 + 0.6 * photo.numpy()
    lq = noisy_reduction(truth)
    wrong = truth.copy()
    wrong[..., 24:64, 24:64] += 0.16
    found = project(Photo(pixels=quantize(wrong, np.uint8)), lq, kernel_width=1.6)
    assert found.steps == 1
    assert not found.exact
    left = abs(image_array(found.result) - truth).mean((0, 1))
    inside = left[32:56, 32:56].mean()
    assert inside < 0.5 * 0.16
    assert left[:, 80:].mean() < 0.6 / 255, "noise of 3 levels stays out of what was right"


def test_what_is_consistent_stays(photo):
    truth = Photo(pixels=quantize(photo, np.uint16))
    found = project(truth, reduced(truth, (24, 32), np.uint16))
    assert found.steps == 0
    assert np.array_equal(found.result.pixels, truth.pixels)


def test_the_round_trip_is_enlarging_and_reducing(photo):
    small = resample(photo, (21, 30))
    direct = resample(resample(small, (97, 111)), (21, 30))
    assert torch.allclose(_reduced_enlargement(small, (97, 111), KEYS), direct, atol=1e-5)
