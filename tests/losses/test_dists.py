"""DISTS against closed forms and the published layout; EA-DISTS."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from sdsr.errors import ModelError
from sdsr.losses.dists import Dists, DistsNetwork, L2Pooling, dists, ea_dists, load_dists
from sdsr.losses.filters import sobel
from sdsr.losses.small_perceptual import SmallPerceptual


class Pixels(nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [x]


def test_equal_is_zero_and_symmetric_over_any_network():
    torch.manual_seed(0)
    distance = Dists(SmallPerceptual())
    x, y = torch.rand(2, 3, 32, 40), torch.rand(2, 3, 32, 40)
    torch.testing.assert_close(distance(x, x), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(distance(x, y), distance(y, x))
    assert (distance(x, y) > 1e-3).all()


def test_a_constant_shift_moves_the_texture_term_only():
    x = torch.rand(1, 4, 16, 16)
    ones, none = [torch.ones(4)], [torch.zeros(4)]
    torch.testing.assert_close(dists([x], [x + 0.5], none, ones), torch.zeros(1), atol=1e-5, rtol=0)
    mean = x.mean(dim=(2, 3))
    similarity = (2 * mean * (mean + 0.5) + 1e-6) / (mean**2 + (mean + 0.5) ** 2 + 1e-6)
    torch.testing.assert_close(dists([x], [x + 0.5], ones, none), 1 - similarity.mean(dim=1))
    torch.testing.assert_close(dists([x], [x + 0.5]), (1 - similarity.mean(dim=1)) / 2)


def test_an_inverted_pattern_is_opposite_in_structure():
    x = torch.rand(1, 1, 16, 16)
    distance = dists([x], [2 * x.mean() - x], [torch.zeros(1)], [torch.ones(1)])
    torch.testing.assert_close(distance, torch.tensor([2.0]), atol=1e-4, rtol=0)


def test_l2_pooling_of_a_constant_is_the_constant():
    pooled = L2Pooling()(torch.full((1, 2, 8, 10), 0.7))
    assert pooled.shape == (1, 2, 4, 5)
    torch.testing.assert_close(pooled[..., 1:, 1:], torch.full((1, 2, 3, 4), 0.7))


def test_published_layout_at_full_size(tmp_path):
    torch.manual_seed(0)
    network, path = DistsNetwork(), tmp_path / "dists.safetensors"
    trunk = {name: tensor * 1.5 for name, tensor in network.stages.state_dict().items()}
    assert {"stage1.0.weight", "stage2.5.weight", "stage3.14.bias", "stage5.28.weight"} <= trunk.keys()
    alpha, beta = torch.rand(1, 1475, 1, 1), torch.rand(1, 1475, 1, 1)
    pooling = {"stage2.4.filter": torch.zeros(64, 1, 3, 3), "mean": torch.zeros(1, 3, 1, 1)}
    save_file({**trunk, **pooling, "alpha": alpha, "beta": beta}, path)
    distance = load_dists(path)
    network.stages.load_state_dict(trunk)
    x, y = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    shares = [(weight / (alpha.sum() + beta.sum())).flatten() for weight in (alpha, beta)]
    similarity = torch.zeros(())
    start = 0
    for left, right in zip(network(x), network(y), strict=True):
        end = start + left.shape[1]
        a, b = left[0].flatten(1), right[0].flatten(1)
        covariance = ((a - a.mean(1, keepdim=True)) * (b - b.mean(1, keepdim=True))).mean(1)
        texture = (2 * a.mean(1) * b.mean(1) + 1e-6) / (a.mean(1) ** 2 + b.mean(1) ** 2 + 1e-6)
        structure = (2 * covariance + 1e-6) / (a.var(1, correction=0) + b.var(1, correction=0) + 1e-6)
        similarity = similarity + (shares[0][start:end] * texture + shares[1][start:end] * structure).sum()
        start = end
    torch.testing.assert_close(distance(x, y), (1 - similarity.detach())[None], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(distance(x, x), torch.zeros(1), atol=1e-5, rtol=0)
    save_file({"alpha": alpha, "beta": beta}, path)
    with pytest.raises(ModelError, match=r"stage1\..* is missing"):
        load_dists(path)


def test_edge_aware_adds_the_distance_of_the_edges():
    plain = Dists(Pixels())
    x, y = torch.rand(2, 3, 12, 12), torch.rand(2, 3, 12, 12)
    edges = [sobel(image).expand(2, 3, 12, 12) for image in (x, y)]
    torch.testing.assert_close(ea_dists(plain, x, y), plain(x, y) + plain(*edges))
    x.requires_grad_()
    ea_dists(plain, x, torch.zeros_like(y)).sum().backward()
    assert x.grad.isfinite().all()


def test_pooling_survives_rounding_below_zero(monkeypatch):
    """Where all is zero, some processors' convolutions give a little less than that."""
    monkeypatch.setattr(functional, "conv2d", lambda x, *_, **__: x.new_full((1, 2, 3, 3), -1e-9))
    torch.testing.assert_close(L2Pooling()(torch.zeros(1, 2, 6, 6)), torch.full((1, 2, 3, 3), 1e-6))
