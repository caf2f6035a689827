"""Perceptual distance in the form of LPIPS (arXiv:1801.03924, Eq. 1): any feature network, images or latents."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sdsr.tensors import Float, Image

FeatureDistance = Callable[[list[Tensor], list[Tensor]], Tensor]
"""Of two lists of feature maps, for each image."""


def unit_normalized(features: Float[Tensor, "b c h w"], epsilon: float = 1e-10) -> Float[Tensor, "b c h w"]:
    """Feature vectors scaled to length one at each place; a zero vector stays zero and passes no gradient."""
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + epsilon)


def feature_distance(
    x: Sequence[Tensor], y: Sequence[Tensor], weights: Sequence[Tensor] | None = None
) -> Float[Tensor, " b"]:
    """LPIPS of two lists of feature maps: weighted squared difference of unit vectors, spatial mean, sum over maps.

    The weights stand outside the square, as in the published code.

    `weights` holds one tensor per map that broadcasts over its channels; None weighs all channels by one.
    """
    assert len(x) == len(y), f"lists of {len(x)} and {len(y)} feature maps can't be compared"
    total = x[0].new_zeros(x[0].shape[0])
    for index, (left, right) in enumerate(zip(x, y, strict=True)):
        difference = (unit_normalized(left) - unit_normalized(right)).square()
        if weights is not None:
            difference = difference * weights[index].reshape(1, -1, 1, 1)
        total = total + difference.sum(dim=1).mean(dim=(1, 2))
    return total


def distance_by(network: nn.Module, distance: FeatureDistance, image: Image, target: Image) -> Tensor:
    """Return each image's distance from its target by a frozen network's features, compared in float32."""
    with torch.no_grad():
        wanted = [each.float() for each in network(target)]
    return distance([each.float() for each in network(image)], wanted)


class Yardstick(nn.Module):
    """Stays in evaluation mode: it doesn't change while it measures."""

    def train(self, mode: bool = True) -> "Yardstick":
        return super().train(False)


class PerceptualDistance(Yardstick):
    """A feature network and its weights as one frozen distance: `(x, y) -> per-sample distance`, zero if equal.

    Gradients flow to both inputs; none of the parameters is trained.
    """

    def __init__(self, network: nn.Module, weights: Sequence[Tensor] | None = None) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.weights = None if weights is None else nn.ParameterList(weight.detach() for weight in weights)
        self.requires_grad_(False)

    def forward(self, x: Float[Tensor, "b c h w"], y: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        return feature_distance(self.network(x), self.network(y), None if self.weights is None else list(self.weights))
