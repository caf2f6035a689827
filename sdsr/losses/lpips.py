"""LPIPS with its published weights (arXiv:1801.03924), on images and on latents, without torchvision.

Two file layouts load. A complete file names the trunk `net.slice1.0.weight` and the channel weights
`lin0.model.1.weight`. The authors' own files hold the channel weights only; the trunk then comes from an ImageNet
classifier's file, with names as `features.0.weight`.
"""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sdsr.losses.perceptual import PerceptualDistance
from sdsr.losses.small_perceptual import load_small_perceptual
from sdsr.losses.trunks import (
    ALEXNET_CHANNELS,
    POOL_PLACES,
    VGG16_CHANNELS,
    alexnet_stages,
    outputs_of,
    renamed_trunk,
    vgg16_stages,
)
from sdsr.prior.weight_files import below, fill, read_tensors
from sdsr.tensors import Float

Trunk = Literal["vgg16", "alexnet", "latent_vgg16"]


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
            case "alexnet":
                stages = alexnet_stages()
            case "latent_vgg16":
                stages = vgg16_stages({POOL_PLACES[-1]: nn.MaxPool2d(2)}, in_channels=4)
        self.channels = ALEXNET_CHANNELS if trunk == "alexnet" else VGG16_CHANNELS
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


def load_lpips(path: Path, trunk: Trunk = "vgg16", *, classifier: Path | None = None) -> PerceptualDistance:
    """The published distance from a file, frozen.

    `classifier` is the ImageNet file that supplies the trunk where `path` holds channel weights only.
    Raises ModelError if either file is missing or of another network.
    """
    network = LpipsNetwork(trunk)
    tensors = read_tensors(path)
    heads = nn.ParameterDict({f"lin{i}": nn.Parameter(torch.empty(1, c, 1, 1)) for i, c in enumerate(network.channels)})
    # Some files hold the channel weights twice (`lins.0...`) and the scaling constants: neither is needed.
    linear = {name: tensors[f"{name}.model.1.weight"] for name in heads if f"{name}.model.1.weight" in tensors}
    fill(heads, linear, path)
    stages = below(tensors, "net.")
    if classifier is not None:
        stages = renamed_trunk(read_tensors(classifier), network.net)
    fill(network.net, stages, classifier or path)
    return PerceptualDistance(network, list(heads.values()))
