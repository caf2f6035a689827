import math

import numpy as np
import pytest
from scipy import ndimage

from sdsr.metrics.measures import color_shift, gmsd, grid, grid_profile, high_frequency, psnr, ssim


@pytest.fixture
def truth():
    """A picture with a flat left half and a busy right half."""
    noise = np.random.default_rng(0).normal(size=(128, 160))
    noise[:, :80] *= 0.02
    return 128 + 20 * noise


@pytest.mark.parametrize("offset", [0.5, 3.0, 40.0])
def test_psnr_of_an_offset(truth, offset):
    assert psnr(truth + offset, truth, floor=0.0) == pytest.approx(20 * math.log10(255 / offset))


def test_psnr_of_equal_photos_is_the_floor_or_infinite(truth):
    assert psnr(truth, truth) == pytest.approx(80)
    assert psnr(truth, truth, floor=0.0) == math.inf


def test_ssim_of_two_constants_is_the_luminance_term():
    result, truth = np.full((20, 30), 100.0), np.full((20, 30), 140.0)
    c1 = (0.01 * 255) ** 2
    assert ssim(result, truth) == pytest.approx((2 * 100 * 140 + c1) / (100**2 + 140**2 + c1))


def test_ssim_of_a_negative_is_clamped_only_where_asked(truth):
    busy = truth[:, 80:]
    assert ssim(256 - busy, busy, clamp=False) < -0.5
    assert ssim(256 - busy, busy) == 0


def test_ssim_of_one_window_follows_its_definition(truth):
    a, b = truth[:11, 80:91], truth[40:51, 80:91]
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(taps, taps) / taps.sum() ** 2
    mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
    variance_a, variance_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
    covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = 2.55**2, 7.65**2
    expected = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    expected *= (2 * covariance + c2) / (variance_a + variance_b + c2)
    assert ssim(a, b, clamp=False) == pytest.approx(expected)


def test_ssim_of_color_is_the_mean_of_its_channels(truth):
    photo = np.stack([truth, truth, 256 - truth], axis=-1)
    reference = np.stack([truth] * 3, axis=-1)
    expected = (2 + ssim(256 - truth, truth, clamp=False)) / 3
    assert ssim(photo, reference, clamp=False) == pytest.approx(expected)
    assert math.isnan(ssim(photo[:10], reference[:10]))


def test_color_shift_sees_places_that_change_and_not_their_detail():
    truth = np.random.default_rng(0).integers(20, 200, (64, 96, 3)).astype(float)
    checks = 8.0 * (np.indices((64, 96)).sum(0) % 2 * 2 - 1)[..., None]
    tinted = truth.copy()
    tinted[:32, :32, 0] += 12
    assert color_shift(truth + checks, truth) == pytest.approx(0, abs=1e-9)
    assert color_shift(truth - 3, truth) == pytest.approx(3)
    assert color_shift(tinted, truth) == pytest.approx(12 / 18)
    assert np.isnan(color_shift(truth[:31], truth[:31]))


def test_gmsd_ignores_an_offset_and_agrees_with_scipy(truth):
    assert gmsd(truth + 9, truth) == pytest.approx(0, abs=1e-9)
    result = ndimage.gaussian_filter(truth, 1)
    small = [image.reshape(64, 2, 80, 2).mean((1, 3)) for image in (result, truth)]
    a, b = [np.hypot(ndimage.prewitt(image, 0), ndimage.prewitt(image, 1)) / 3 for image in small]
    assert gmsd(result, truth) == pytest.approx(((2 * a * b + 170) / (a**2 + b**2 + 170)).std())


def test_high_frequency_is_1_for_the_truth_and_follows_contrast(truth):
    for busiest in (True, False):
        assert high_frequency(truth, truth, busiest=busiest) == pytest.approx(1)
        assert high_frequency(2 * truth, truth, busiest=busiest) == pytest.approx(2, rel=2e-2)


def test_noise_in_flat_places_shows_in_the_flat_ratio_alone(truth):
    noisy = truth.copy()
    noisy[:, :80] += np.random.default_rng(1).normal(scale=2, size=(128, 80))
    assert high_frequency(noisy, truth, busiest=True) == pytest.approx(1, abs=1e-3)
    assert high_frequency(noisy, truth, busiest=False) > 3


def test_high_frequency_of_less_than_a_block_is_not_a_number(truth):
    assert math.isnan(high_frequency(truth[:15], truth[:15], busiest=True))


@pytest.mark.parametrize("period_px", [4, 8])
def test_grid_finds_enlargement_by_copies(period_px):
    photo = np.random.default_rng(0).normal(size=(512, 512))
    enlarged = np.repeat(np.repeat(photo[: 512 // period_px, : 512 // period_px], period_px, 0), period_px, 1)
    assert grid(grid_profile(photo)[None]) == pytest.approx(1, abs=0.06)
    assert grid(grid_profile(enlarged)[None]) == pytest.approx(period_px / 2, rel=0.06)


def test_grid_is_the_peak_of_the_median_profile_and_sees_either_direction():
    flat, peaked = np.ones((2, 16)), np.ones((2, 16))
    peaked[1, 5::8] = 1.8
    peaked[1] /= peaked[1].mean()
    assert grid(np.stack([flat, peaked, peaked])) == pytest.approx(peaked.max())
    assert grid(np.stack([flat, flat, peaked])) == pytest.approx(1)


def test_grid_of_a_constant_is_not_a_number():
    assert math.isnan(grid(grid_profile(np.ones((64, 64)))[None]))
