"""The measures of noise and blur on what was made noisy or blurred."""

import math

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from sdsr.methods.invsr.impairment import LOOK_PX, blur_sigma, noise_sigma


def blurred(image: Tensor, sigma: float) -> Tensor:
    return torch.from_numpy(gaussian_filter(image.numpy(), (0, 0, sigma, sigma), mode="nearest"))


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.1])
@pytest.mark.parametrize("ground", ["flat", "ramp"])
def test_white_noise_is_measured(sigma, ground, rng):
    clean = torch.full((1, 3, 200, 240), 0.5)
    if ground == "ramp":
        clean = clean * torch.linspace(0.8, 1.2, 240)
    assert noise_sigma(clean + sigma * torch.randn(clean.shape, generator=rng)) == pytest.approx(sigma, rel=0.1)


def test_more_noise_measures_more_on_a_photo(photo, rng):
    noise = torch.randn(photo.shape, generator=rng)
    measured = [noise_sigma((photo + sigma * noise).clamp(0, 1)) for sigma in (0.0, 0.02, 0.05, 0.1)]
    assert measured == sorted(measured)
    assert measured[-1] == pytest.approx(0.1, rel=0.25)


def test_blown_out_tiles_hide_no_noise(rng):
    image = (0.5 + 0.05 * torch.randn(1, 3, 128, 128, generator=rng)).clamp(0, 1)
    image[..., 40:, :] = 1
    assert noise_sigma(image) == pytest.approx(0.05, rel=0.15)
    assert noise_sigma(torch.ones(1, 3, 64, 64)) == 0
    assert noise_sigma(torch.rand(1, 3, 5, 100)) == 0


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.0, 4.0])
def test_the_width_of_a_blurred_edge_is_measured(sigma):
    edge = torch.zeros(1, 3, 80, 80)
    edge[..., 40:] = 0.8
    assert blur_sigma(blurred(edge, sigma)) == pytest.approx(sigma, abs=0.15)


def test_more_blur_measures_more_on_a_photo_even_with_noise(photo, rng):
    for noise in (0.0, 0.03):
        draws = noise * torch.randn(photo.shape, generator=rng)
        measured = [blur_sigma(blurred(photo, sigma) + draws) for sigma in (0.5, 1.0, 1.5, 2.5)]
        assert measured == sorted(measured)


def test_without_an_edge_blur_is_infinite():
    assert blur_sigma(torch.full((1, 3, 9, 9), 0.3)) == math.inf


def test_of_a_large_photo_the_middle_is_measured(rng):
    image = torch.full((1, 3, LOOK_PX + 200, 64), 0.5)
    image[..., :100, :] = torch.rand(3, 100, 64, generator=rng)
    assert noise_sigma(image) == pytest.approx(0, abs=1e-6)


def test_a_photo_of_one_pixel_has_measures():
    assert noise_sigma(torch.rand(1, 3, 1, 1)) == 0
    assert blur_sigma(torch.rand(1, 3, 1, 1)) == math.inf
