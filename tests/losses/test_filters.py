"""Blur, high pass, differences and Sobel edges against closed forms."""

import torch

from sdsr.losses.filters import differences, gaussian_blur, high_pass, sobel


def test_blur_of_an_impulse_is_a_gaussian_of_the_given_sigma():
    image = torch.zeros(2, 3, 33, 33)
    image[:, :, 16, 16] = 1
    blurred = gaussian_blur(image, torch.tensor([1.0, 2.0]))
    offsets = torch.arange(33) - 16.0
    variances = (blurred[:, 0].sum(dim=1) * offsets.square()).sum(dim=1)
    torch.testing.assert_close(blurred.sum(dim=(2, 3)), torch.ones(2, 3))
    torch.testing.assert_close(variances, torch.tensor([1.0, 4.0]), rtol=0.03, atol=0)


def test_high_pass_of_a_constant_is_zero_and_of_no_blur_is_nothing():
    torch.testing.assert_close(high_pass(torch.full((1, 3, 8, 9), 0.3)), torch.zeros(1, 3, 8, 9))
    image = torch.rand(1, 3, 8, 9)
    torch.testing.assert_close(gaussian_blur(image, 0.0), image)


def test_sobel_of_a_ramp_is_eight_times_its_slope():
    ramp = (0.01 * torch.arange(20.0)).expand(1, 3, 10, 20)
    torch.testing.assert_close(sobel(ramp)[..., 1:-1, 1:-1], torch.full((1, 1, 8, 18), (0.08**2 + 1e-6) ** 0.5))
    torch.testing.assert_close(sobel(ramp.mT)[..., 1:-1, 1:-1], torch.full((1, 1, 18, 8), (0.08**2 + 1e-6) ** 0.5))


def test_differences_of_a_ramp_are_its_slopes():
    across, down = differences((0.5 * torch.arange(4.0)[None] + 2 * torch.arange(3.0)[:, None]).expand(1, 3, 3, 4))
    torch.testing.assert_close(across, torch.full((1, 3, 3, 3), 0.5))
    torch.testing.assert_close(down, torch.full((1, 3, 2, 4), 2.0))
