"""Convolutions as products: that they are convolutions, and where they stand in for torch's own."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.window_memory import Alive
from sdsr.prior import convolution
from sdsr.prior.convolution import (
    F2,
    F4,
    ConvolutionByProducts,
    Workspace,
    by_product,
    by_winograd,
    transformed,
    workspace_bytes,
)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (1, 1), (3, 9), (13, 6), (40, 33)])
@pytest.mark.parametrize("block", [1, 2**12, 2**20])
@pytest.mark.parametrize("part", [1, 36 * 5 * 3, 2**20])
@pytest.mark.parametrize("algorithm", [F4, F2], ids=["F4", "F2"])
def test_they_are_convolutions(rng, monkeypatch, height, width, block, part, algorithm):
    monkeypatch.setattr(convolution, "_BLOCK", block)
    monkeypatch.setattr(convolution, "_LEAST_TILES", 1)
    monkeypatch.setattr(convolution, "_PART", part)
    image = torch.randn(2, 5, height, width, generator=rng, dtype=torch.float64)
    kernels, bias = torch.randn(7, 5, 3, 3, generator=rng).double(), torch.randn(7, generator=rng).double()
    for convolve in (partial(by_winograd, algorithm=algorithm), by_product):
        torch.testing.assert_close(convolve(image, kernels, bias), F.conv2d(image, kernels, bias, padding=1))
        torch.testing.assert_close(convolve(image, kernels), F.conv2d(image, kernels, padding=1))
        assert convolve(image, kernels).stride()[1] == 1, "channels_last"


def test_in_float32_it_is_near(rng):
    image, kernels = torch.randn(1, 96, 32, 32, generator=rng), torch.randn(96, 96, 3, 3, generator=rng)
    expected = F.conv2d(image.double(), kernels.double(), padding=1)
    error = (by_winograd(image, kernels) - expected).abs().max() / expected.abs().max()
    assert error < 2e-5


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 47)])
def test_in_bfloat16_it_rounds_a_few_times(rng, height, width):
    """Kernels, maps at the points twice, products and sums are rounded, where directly the sum alone is."""
    image = torch.randn(2, 64, height, width, generator=rng).bfloat16()
    kernels = (torch.randn(96, 64, 3, 3, generator=rng) / 24).bfloat16()
    bias = torch.randn(96, generator=rng).bfloat16()
    expected = F.conv2d(image.double(), kernels.double(), bias.double(), padding=1)
    with torch.inference_mode():
        error = (by_winograd(image, kernels, bias) - expected).abs().mean() / expected.std()
        half = (expected.bfloat16() - expected).abs().mean() / expected.std()
    assert half < error < 6 * half


def test_a_workspace_is_used_again(rng):
    """By maps of other sizes, whose values there don't come back."""
    workspace = Workspace(torch.float32)
    for side, channels in ((24, 8), (9, 8), (40, 16), (24, 8)):
        image = torch.randn(1, channels, side, side, generator=rng)
        kernels = torch.randn(7, channels, 3, 3, generator=rng)
        convolved = by_winograd(image, kernels, algorithm=F2, workspace=workspace)
        torch.testing.assert_close(convolved, F.conv2d(image, kernels, padding=1), atol=1e-4, rtol=1e-4)
        again = by_winograd(image, kernels, algorithm=F2, workspace=workspace)
        assert again.data_ptr() != convolved.data_ptr(), "results are never in it"


def test_a_product_is_all_that_is_left_at_a_point(rng):
    """A constant map through kernels of one tap: each point of infinity is the last coefficient alone."""
    kernels = torch.zeros(1, 1, 3, 3)
    kernels[0, 0, 2, 2] = 3.0
    assert transformed(kernels, F4, Workspace(torch.float32))[-1].item() == 3.0


@pytest.mark.parametrize("channels", [(256, 256), (256, 512), (512, 256)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_its_workspace_is_what_is_alive_beside_the_result(monkeypatch, channels, dtype):
    monkeypatch.setattr(convolution, "_BLOCK", 2**22)
    image = torch.zeros(1, channels[1], 64, 64, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernels = torch.zeros(*channels, 3, 3, dtype=dtype)
    with torch.inference_mode(), Alive() as alive:
        result = by_winograd(image, kernels)
    beside = alive.most - result.nbytes
    assert 0.95 * beside < workspace_bytes(*channels, dtype) < 1.2 * beside
    assert workspace_bytes(64, 256, torch.float32) == 0, "which it doesn't serve"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """By what is convolved."""
    seen: list[str] = []
    for way in (by_winograd, by_product):
        monkeypatch.setattr(
            convolution,
            way.__name__,
            lambda *given, way=way, **named: seen.append(way.__name__) or way(*given, **named),
        )
    return seen


@pytest.mark.parametrize(
    ("channels", "cells", "way"), [((128, 160), 46, "by_winograd"), ((1024, 1088), 8, "by_product")]
)
def test_they_stand_in_for_inference(rng, served, channels, cells, way):
    layer = nn.Conv2d(*channels, 3, padding=1)
    image = torch.randn(2, channels[0], cells, cells, generator=rng)
    with torch.no_grad(), ConvolutionByProducts(torch.float32):
        convolved = layer(image)
    assert served == [way]
    torch.testing.assert_close(convolved, layer(image).detach(), atol=1e-4, rtol=1e-4)
    assert served == [way], "only while the mode is entered"


@pytest.mark.parametrize(
    ("channels", "cells", "way"),
    [
        ((256, 320), 46, "by_winograd"),
        ((256, 256), 45, None),  # a small map
        ((192, 256), 128, None),  # few channels
        ((1280, 1024), 8, "by_product"),
        ((1280, 1024), 9, None),
    ],
)
def test_in_bfloat16_they_serve_where_they_gain(monkeypatch, channels, cells, way):
    """By the way alone: a processor that doesn't multiply bfloat16 is slow in it."""
    for other in (by_winograd, by_product):
        monkeypatch.setattr(convolution, other.__name__, lambda *given, other=other, **named: other.__name__)
    kernels = torch.empty(channels[1], channels[0], 3, 3, dtype=torch.bfloat16)
    image = torch.empty(1, channels[0], cells, cells, dtype=torch.bfloat16)
    with torch.no_grad():
        found = convolution._way(Workspace(torch.bfloat16), image, kernels, None, 1, 1)
        mixed = convolution._way(Workspace(torch.bfloat16), image, kernels, torch.empty(channels[1]), 1, 1)
        other = convolution._way(Workspace(torch.float32), image, kernels, None, 1, 1)
    assert (found and found()) == way
    assert mixed is other is None


def test_what_is_named_is_not_lost(rng, served):
    image, kernels = torch.randn(1, 128, 46, 46, generator=rng), torch.randn(128, 128, 3, 3, generator=rng)
    bias = 1000 * torch.randn(128, generator=rng)
    expected = F.conv2d(image, kernels, bias, padding=1)
    with torch.no_grad(), ConvolutionByProducts(torch.float32):
        torch.testing.assert_close(F.conv2d(image, kernels, bias=bias, padding=1), expected, atol=1e-2, rtol=1e-4)
        named = F.conv2d(input=image, weight=kernels, bias=bias, padding=1)
    torch.testing.assert_close(named, expected, atol=1e-2, rtol=1e-4)
    assert served == ["by_winograd"] * 2


def test_elsewhere_convolutions_are_torchs_own(rng, served):
    image = torch.randn(1, 128, 46, 46, generator=rng)
    with ConvolutionByProducts(torch.float32):
        nn.Conv2d(128, 128, 3, padding=1)(image)  # which may have to learn
        with torch.no_grad():
            nn.Conv2d(128, 128, 3)(image)
            nn.Conv2d(128, 128, 3, padding="same")(image)
            nn.Conv2d(128, 128, 3, padding=1, padding_mode="reflect")(image)
            nn.Conv2d(128, 128, 3, padding=1, stride=2)(image)
            nn.Conv2d(128, 128, 3, padding=2, dilation=2)(image)
            nn.Conv2d(128, 128, 5, padding=1)(image)
            nn.Conv2d(128, 256, 3, padding=1, groups=2)(image)
            nn.Conv2d(128, 96, 3, padding=1)(image)  # few channels
            nn.Conv2d(128, 128, 3, padding=1)(image[..., :24, :24])  # a small map, and few channels for one
            nn.Conv2d(128, 128, 3, padding=1)(image[0])
            nn.Conv2d(128, 128, 3, padding=1)(image[:0])
            nn.Conv2d(128, 128, 3, padding=1).bfloat16()(image.bfloat16())
            nn.Conv2d(128, 128, 3, padding=1, device="meta")(image.to("meta"))
    assert served == []
