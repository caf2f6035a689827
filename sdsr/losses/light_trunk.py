"""Light trunks of features that this project trains itself, where published ones can't be had."""

from collections.abc import Collection, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdsr.losses.filters import hann_window
from sdsr.losses.perceptual import PerceptualDistance
from sdsr.losses.trunks import outputs_of
from sdsr.tensors import Float

Map = Float[Tensor, "b c h w"]


class Halve(nn.Module):
    """Half the size after a [1 2 1] blur, so that neither features nor gradients alias into a grid."""

    def forward(self, x: Map) -> Float[Tensor, "b c h2 w2"]:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), "replicate"), hann_window(x), stride=2, groups=x.shape[1])


class LightTrunk(nn.Module):
    """Stages of two 3x3 convolutions of these widths, some (`halved`, by index) at half the size of the one before.

    No normalisation layer, so no batch dependence. `forward` gives the feature map of each stage. `log_weights` are the
    learned channel weights of the distance, as logarithms.
    """

    def __init__(self, channels: int, widths: Sequence[int], halved: Collection[int]) -> None:
        super().__init__()
        self.channels = channels
        self.stages = nn.ModuleList()
        for index, (before, width) in enumerate(pairwise((channels, *widths))):
            stage = nn.Sequential(Halve()) if index in halved else nn.Sequential()
            for entering in (before, width):
                stage.extend([nn.Conv2d(entering, width, 3, padding=1), nn.GELU()])
            self.stages.append(stage)
        self.log_weights = nn.ParameterList(torch.zeros(width) for width in widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    @property
    def weights(self) -> list[Tensor]:
        """Positive channel weights of the distance, one vector per stage."""
        return [weight.exp() for weight in self.log_weights]

    def forward(self, image: Map) -> list[Tensor]:
        return outputs_of(self.stages, image)

    def distance(self) -> PerceptualDistance:
        """Return the trunk, frozen, as a distance with its learned channel weights."""
        return PerceptualDistance(self, self.weights)
