"""A light encoder trained on photos alone: the stand-in for LPIPS, DISTS, DINO and CLIP weights that can't be had.

It stands in for them by value at small scale, frozen and pinned by its hash. It is never a reported metric for a model
trained with it.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sdsr.losses.perceptual import PerceptualDistance
from sdsr.prior.weight_files import fill, read_tensors
from sdsr.tensors import Image

WIDTHS = (16, 32, 64, 128, 192)  # channels at H, H/2, H/4, H/8, H/16; 847,296 parameters, 0.25 GMAC per 128x128


class Halve(nn.Module):
    """Half the size after a [1 2 1] blur, so that neither features nor gradients alias into a grid."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        taps = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
        kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), "replicate"), kernel, stride=2, groups=x.shape[1])


class SmallPerceptual(nn.Module):
    """Five stages of two 3x3 convolutions at H, H/2, H/4, H/8, H/16; no normalisation layer, so no batch dependence.

    `forward` gives the feature maps of an image in [0, 1] (any size from 16 px). `log_weights` are the learned channel
    weights of the distance, as logarithms.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for index, (before, width) in enumerate(zip((3, *widths), widths, strict=False)):
            convolutions = [nn.Conv2d(before, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1)]
            stages.append(nn.Sequential(*([Halve()] if index else []), *convolutions, nn.GELU()))
        self.stages = nn.ModuleList(stages)
        self.log_weights = nn.ParameterList(torch.zeros(width) for width in widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    @property
    def weights(self) -> list[Tensor]:
        """Positive channel weights of the distance, one vector per stage."""
        return [weight.exp() for weight in self.log_weights]

    def forward(self, image: Image) -> list[Tensor]:
        x = (image - 0.5) / 0.25
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def small_perceptual_distance(network: SmallPerceptual) -> PerceptualDistance:
    """The frozen distance of a trained network, with its learned channel weights."""
    return PerceptualDistance(network, network.weights)


def load_small_perceptual(path: Path, sha256: str | None = None) -> SmallPerceptual:
    """The frozen network in the safetensors file `path`; ModelError if it is missing, altered or of another shape."""
    network = SmallPerceptual()
    fill(network, read_tensors(path, sha256), path)
    return network.eval().requires_grad_(False)
