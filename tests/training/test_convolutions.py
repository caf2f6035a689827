"""Weight gradients by matrix products: those of torch's own backward pass, and taken only where they are meant."""

from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F

from sdsr.training import convolutions
from sdsr.training.convolutions import MatrixProducts, weight_gradient


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (3, 5)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 2)])
@pytest.mark.parametrize("size", [(9, 8), (8, 11)])
def test_the_gradient_is_torchs(kernel, stride, padding, size):
    given, weight = torch.randn(2, 5, *size), torch.randn(4, 5, *kernel, requires_grad=True)
    grown = torch.randn_like(out := F.conv2d(given, weight, stride=stride, padding=padding))
    out.backward(grown)
    found = weight_gradient(given, grown, kernel, stride=stride, padding=padding)
    torch.testing.assert_close(found, weight.grad)


def gradients(dtype: torch.dtype, **changes) -> list[torch.Tensor]:
    torch.manual_seed(0)
    channels = 4 // changes.get("groups", 1)
    given = torch.randn(2, 4, 8, 8, dtype=dtype, requires_grad=True)
    weight = torch.randn(6, channels, 3, 3, dtype=dtype, requires_grad=True)
    bias = torch.randn(6, dtype=dtype, requires_grad=True)
    F.conv2d(given, weight, bias, padding=1, **changes).square().sum().backward()
    return [tensor.grad for tensor in (given, weight, bias) if tensor.grad is not None]


def test_a_backward_pass_gets_the_same_gradients():
    expected = gradients(torch.bfloat16)
    with MatrixProducts(), patch.object(convolutions, "weight_gradient", wraps=weight_gradient) as asked:
        found = gradients(torch.bfloat16)
    assert asked.call_count == 1
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.5)


@pytest.mark.parametrize(
    ("dtype", "changes"),
    [(torch.float32, {}), (torch.bfloat16, {"groups": 2}), (torch.bfloat16, {"dilation": 2})],
)
def test_others_stay_torchs(dtype, changes):
    expected = gradients(dtype, **changes)
    with MatrixProducts(), patch.object(convolutions, "weight_gradient", wraps=weight_gradient) as asked:
        found = gradients(dtype, **changes)
    assert asked.call_count == 0
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_what_does_not_learn_costs_nothing():
    given, weight = torch.randn(1, 4, 8, 8).bfloat16().requires_grad_(), torch.randn(4, 4, 3, 3).bfloat16()
    with MatrixProducts(), patch.object(convolutions, "weight_gradient", wraps=weight_gradient) as asked:
        F.conv2d(given, weight).sum().backward()
    assert asked.call_count == 0
    assert given.grad is not None
