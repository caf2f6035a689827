"""DISTS (arXiv:2004.07728) over any feature network, with its published weights, and D3SR's edge-aware EA-DISTS.

Where the published weights can't be had, `Dists` takes the small perceptual network, or features of the prior, with
uniform weights: a substitute by form, not by value, and its figures are not comparable with the published DISTS.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdsr.losses.filters import hann_window, sobel
from sdsr.losses.perceptual import Yardstick
from sdsr.losses.small_perceptual import load_small_perceptual
from sdsr.losses.trunks import POOL_PLACES, VGG16_CHANNELS, outputs_of, vgg16_stages
from sdsr.prior.weight_files import fill, read_tensors
from sdsr.tensors import Float, Image

STABILITY = 1e-6  # c1 = c2 of the paper


def dists(
    x: Sequence[Tensor],
    y: Sequence[Tensor],
    alpha: Sequence[Tensor] | None = None,
    beta: Sequence[Tensor] | None = None,
) -> Float[Tensor, " b"]:
    """DISTS of two lists of feature maps: 0 if equal; means carry the texture, covariances the structure.

    `alpha` and `beta` weigh texture and structure of each channel, one vector per map, and are normalised to the sum
    one together; None gives each map, and within it each channel, the same share.
    """
    assert len(x) == len(y), f"lists of {len(x)} and {len(y)} feature maps can't be compared"
    textures = alpha or [feature.new_full((feature.shape[1],), 1 / feature.shape[1]) for feature in x]
    structures = beta or [feature.new_full((feature.shape[1],), 1 / feature.shape[1]) for feature in x]
    whole = torch.stack([weight.sum() for weight in (*textures, *structures)]).sum()
    similarity = x[0].new_zeros(x[0].shape[0])
    for left, right, texture, structure in zip(x, y, textures, structures, strict=True):
        left_mean = left.mean(dim=(2, 3))
        right_mean = right.mean(dim=(2, 3))
        left_variance = left.var(dim=(2, 3), correction=0)
        right_variance = right.var(dim=(2, 3), correction=0)
        covariance = (left * right).mean(dim=(2, 3)) - left_mean * right_mean
        of_means = (2 * left_mean * right_mean + STABILITY) / (left_mean**2 + right_mean**2 + STABILITY)
        of_places = (2 * covariance + STABILITY) / (left_variance + right_variance + STABILITY)
        similarity = similarity + (of_means * texture.flatten() + of_places * structure.flatten()).sum(dim=1) / whole
    return 1 - similarity


class L2Pooling(nn.Module):
    """Half the size: root of the squares averaged by a 3x3 Hann window, so that nothing aliases."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        averaged = F.conv2d(x.square(), hann_window(x), stride=2, padding=1, groups=x.shape[1])
        return (averaged.clamp(min=0) + 1e-12).sqrt()  # a convolution's rounding may be below zero where all is zero


class DistsNetwork(nn.Module):
    """The image itself, then VGG16 after each of five stages, pooled by `L2Pooling`; takes images in [0, 1]."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        stages = vgg16_stages({place: L2Pooling() for place in POOL_PLACES})
        self.stages = nn.ModuleDict({f"stage{index}": stage for index, stage in enumerate(stages, start=1)})
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1))

    def forward(self, image: Image) -> list[Tensor]:
        return [image, *outputs_of(self.stages.values(), (image - self.mean) / self.deviation)]


class Dists(Yardstick):
    """A feature network as a frozen DISTS: `(x, y) -> per-sample distance` of images in [0, 1]."""

    def __init__(
        self, network: nn.Module, alpha: Sequence[Tensor] | None = None, beta: Sequence[Tensor] | None = None
    ) -> None:
        super().__init__()
        self.network = network.eval()
        self.alpha = None if alpha is None else nn.ParameterList(weight.detach() for weight in alpha)
        self.beta = None if beta is None else nn.ParameterList(weight.detach() for weight in beta)
        self.requires_grad_(False)

    def forward(self, x: Image, y: Image) -> Float[Tensor, " b"]:
        alpha, beta = (None if weights is None else list(weights) for weights in (self.alpha, self.beta))
        # Statistics in float32 also under autocast: a covariance in half precision is mostly rounding.
        left, right = ([feature.float() for feature in self.network(image)] for image in (x, y))
        return dists(left, right, alpha, beta)


def ea_dists(distance: Callable[[Image, Image], Tensor], x: Image, y: Image) -> Float[Tensor, " b"]:
    """EA-DISTS of D3SR (arXiv:2410.04224, Eq. 11): the distance of the images plus that of their Sobel edges."""
    edges = (sobel(image).expand_as(image) for image in (x, y))
    return distance(x, y) + distance(*edges)


def load_ea_dists(weights: str | None, device: torch.device) -> Callable[[Image, Image], Tensor]:
    """EA-DISTS with DISTS's published weights from the file `weights`, else on the embedded small perceptual network.

    The latter stands in by form, not by value. Raises ModelError where the file is missing or of another network.
    """
    distance = Dists(load_small_perceptual()) if weights is None else load_dists(Path(weights))
    return partial(ea_dists, distance.to(device))


def load_dists(path: Path) -> Dists:
    """The published DISTS from a file of `alpha`, `beta` and the trunk (`stage1.0.weight`), frozen.

    Raises ModelError if it is missing or of another network.
    """
    network = DistsNetwork()
    tensors = read_tensors(path)
    widths = (3, *VGG16_CHANNELS)
    weights = nn.ParameterDict({name: nn.Parameter(torch.empty(1, sum(widths), 1, 1)) for name in ("alpha", "beta")})
    fill(weights, {name: tensors[name] for name in weights if name in tensors}, path)
    trunk = {name: tensor for name, tensor in tensors.items() if name.startswith("stage") and "filter" not in name}
    fill(network.stages, trunk, path)
    return Dists(network, weights["alpha"].flatten().split(widths), weights["beta"].flatten().split(widths))
