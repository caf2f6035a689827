"""Winograd's convolution: that it is a convolution, and where it stands in for torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdsr.prior import winograd
from sdsr.prior.winograd import WinogradConvolution, convolve, transformed


@pytest.mark.parametrize(("height", "width"), [(4, 4), (1, 1), (3, 9), (13, 6), (40, 33)])
@pytest.mark.parametrize("block", [1, 2**12, 2**20])
def test_it_is_a_convolution(rng, monkeypatch, height, width, block):
    monkeypatch.setattr(winograd, "_BLOCK", block)
    image = torch.randn(2, 5, height, width, generator=rng, dtype=torch.float64)
    kernels, bias = torch.randn(7, 5, 3, 3, generator=rng).double(), torch.randn(7, generator=rng).double()
    torch.testing.assert_close(convolve(image, kernels, bias), F.conv2d(image, kernels, bias, padding=1))
    torch.testing.assert_close(convolve(image, kernels), F.conv2d(image, kernels, padding=1))


def test_in_float32_it_is_near(rng):
    image, kernels = torch.randn(1, 96, 32, 32, generator=rng), torch.randn(96, 96, 3, 3, generator=rng)
    expected = F.conv2d(image.double(), kernels.double(), padding=1)
    error = (convolve(image, kernels) - expected).abs().max() / expected.abs().max()
    assert error < 2e-5


def test_a_product_is_all_that_is_left_at_a_point(rng):
    """A constant map through kernels of one tap: each point of infinity is the last coefficient alone."""
    kernels = torch.zeros(1, 1, 3, 3)
    kernels[0, 0, 2, 2] = 3.0
    assert transformed(kernels)[-1].item() == 3.0


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The maps that are convolved so."""
    seen: list[Tensor] = []
    monkeypatch.setattr(winograd, "convolve", lambda *given: seen.append(given[0]) or convolve(*given))
    return seen


def test_it_stands_in_for_inference_on_large_maps(rng, served):
    layer = nn.Conv2d(96, 128, 3, padding=1)
    image = torch.randn(2, 96, 24, 24, generator=rng)
    with torch.no_grad(), WinogradConvolution():
        convolved = layer(image)
    assert len(served) == 1
    torch.testing.assert_close(convolved, layer(image).detach(), atol=1e-4, rtol=1e-4)
    assert len(served) == 1, "only while the mode is entered"


def test_elsewhere_convolutions_are_torchs_own(rng, served):
    image = torch.randn(1, 96, 24, 24, generator=rng)
    with WinogradConvolution():
        nn.Conv2d(96, 96, 3, padding=1)(image)  # which may have to learn
        with torch.no_grad():
            nn.Conv2d(96, 96, 3)(image)
            nn.Conv2d(96, 96, 3, padding="same")(image)
            nn.Conv2d(96, 96, 3, padding=1, padding_mode="reflect")(image)
            nn.Conv2d(96, 96, 3, padding=1, stride=2)(image)
            nn.Conv2d(96, 96, 3, padding=2, dilation=2)(image)
            nn.Conv2d(96, 96, 5, padding=1)(image)
            nn.Conv2d(96, 192, 3, padding=1, groups=2)(image)
            nn.Conv2d(96, 64, 3, padding=1)(image)  # few channels
            nn.Conv2d(96, 96, 3, padding=1)(image[..., :8, :8])  # a small map
            nn.Conv2d(96, 96, 3, padding=1)(image[0])
            nn.Conv2d(96, 96, 3, padding=1).bfloat16()(image.bfloat16())
            nn.Conv2d(96, 96, 3, padding=1, device="meta")(image.to("meta"))
    assert served == []
