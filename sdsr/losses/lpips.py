"""LPIPS with its published weights (arXiv:1801.03924), on images and on latents, without torchvision.

A file names the trunk `net.slice1.0.weight` and the channel weights `lin0.model.1.weight`.
"""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sdsr.losses.perceptual import PerceptualDistance
from sdsr.losses.small_perceptual import load_small_perceptual
from sdsr.losses.trunks import POOL_PLACES, VGG16_CHANNELS, outputs_of, vgg16_stages
from sdsr.prior.weight_files import below, fill, read_tensors
from sdsr.tensors import Float

Trunk = Literal["vgg16", "latent_vgg16"]


class ImageNetScaling(nn.Module):
    """[0, 1] to [-1, 1], then the constants of ImageNet photos in that range."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).reshape(1, 3, 1, 1))

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        return (2 * x - 1 - self.shift) / self.scale


class LpipsNetwork(nn.Module):
    """Features after each of five stages, for images in [0, 1], or for latents as they are.

    `latent_vgg16` is the network InvSR trained for the latents of SD-Turbo: four input channels, no normalisation,
    and only the last pooling left, so that 64x64 latents keep their resolution for four stages.
    """

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        match trunk:
            case "vgg16":
                stages = vgg16_stages({place: nn.MaxPool2d(2) for place in POOL_PLACES})
            case "latent_vgg16":
                stages = vgg16_stages({POOL_PLACES[-1]: nn.MaxPool2d(2)}, in_channels=4)
        self.scaling_layer = nn.Identity() if trunk == "latent_vgg16" else ImageNetScaling()
        self.net = nn.ModuleDict({f"slice{index}": stage for index, stage in enumerate(stages, start=1)})

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        return outputs_of(self.net.values(), self.scaling_layer(x))


def load_lpips_or_small(weights: str | None, device: torch.device) -> PerceptualDistance:
    """Return LPIPS with the published weights in a file (of VGG-16), or what stands in for it without one.

    That is the distance of the embedded small perceptual network, whose values are about ten times as large.
    """
    distance = load_small_perceptual().distance() if weights is None else load_lpips(Path(weights))
    return distance.to(device)


def load_lpips(path: Path, trunk: Trunk = "vgg16") -> PerceptualDistance:
    """The published distance from a file, frozen. Raises ModelError if it is missing or of another network."""
    network = LpipsNetwork(trunk)
    tensors = read_tensors(path)
    heads = nn.ParameterDict({f"lin{i}": nn.Parameter(torch.empty(1, c, 1, 1)) for i, c in enumerate(VGG16_CHANNELS)})
    # Some files hold the channel weights twice (`lins.0...`) and the scaling constants: neither is needed.
    linear = {name: tensors[f"{name}.model.1.weight"] for name in heads if f"{name}.model.1.weight" in tensors}
    fill(heads, linear, path)
    fill(network.net, below(tensors, "net."), path)
    return PerceptualDistance(network, list(heads.values()))
