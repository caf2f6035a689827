"""The LPIPS form against its formula."""

import torch
from torch import nn

from sdsr.losses.perceptual import PerceptualDistance, feature_distance, unit_normalized


def test_unit_vectors_have_length_one_and_zero_stays_zero_without_bad_gradient():
    features = torch.randn(2, 5, 3, 3)
    features[0, :, 1, 1] = 0
    features.requires_grad_()
    unit = unit_normalized(features)
    lengths = unit.square().sum(dim=1)
    assert lengths[0, 1, 1] == 0
    torch.testing.assert_close(lengths[1], torch.ones(3, 3))
    unit.sum().backward()
    assert features.grad.isfinite().all()


def test_orthogonal_features_are_two_apart_and_weights_count():
    x, y = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    x[:, 0], y[:, 1] = 3.0, 0.1
    torch.testing.assert_close(feature_distance([x], [y]), torch.tensor([2.0]))
    torch.testing.assert_close(feature_distance([x, x], [y, x]), torch.tensor([2.0]))
    torch.testing.assert_close(feature_distance([x], [y], [torch.tensor([0.25, 0.5])]), torch.tensor([0.75]))


def test_distance_ignores_the_gain_of_features_and_passes_gradients_to_both_sides():
    class Gain(nn.Module):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [x, 7 * x]

    distance = PerceptualDistance(Gain())
    x, y = torch.rand(2, 4, 6, 6, requires_grad=True), torch.rand(2, 4, 6, 6, requires_grad=True)
    torch.testing.assert_close(distance(x, 5 * x), torch.zeros(2))
    torch.testing.assert_close(distance(x, y), 2 * feature_distance([x], [y]))
    distance(x, y).sum().backward()
    assert x.grad.abs().sum() > 0
    assert y.grad.abs().sum() > 0
