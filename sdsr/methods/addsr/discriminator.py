"""AddSR's discriminator (arXiv:2404.01717): light heads on the tokens of a frozen network, told of the LQ photo.

Projected discriminators after StyleGAN-T (arXiv:2301.09515). At full size the tokens are those of DINO
(arXiv:2104.14294), at its input and after its blocks 3, 6, 9 and 12, and the LQ photo is DINOv2's class token
(arXiv:2304.07193); at small scale both come from smaller networks. transformers is imported where they are loaded.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.utils import spectral_norm

from sdsr.data.degradation import LowImage
from sdsr.losses.small_perceptual import SmallPerceptual
from sdsr.prior.network_config import NetworkConfig
from sdsr.tensors import Float, Image

DINO_PX = 224
DINO_2_PX = 518
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_SMALL_VIT: NetworkConfig = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
_TAPS = (0, 3, 6, 9, 12)
_SMALL_LEVELS = (1, 2, 3, 4)

Maps = list[Float[Tensor, "b channels places"]]


class Equalized(nn.Linear):
    """A linear layer begun at unit weights, which it divides by the root of their number (arXiv:1710.10196)."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight / math.sqrt(self.in_features), self.bias)


class Residual(nn.Module):
    """(f(x) + x) / sqrt(2)."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return (self.fn(x) + x) / math.sqrt(2)


class ProjectedHead(nn.Module):
    """One logit per place, high for real: two convolutions along the places, then a projection on the condition.

    Deviation from StyleGAN-T, as published for AddSR: group norm stands for its local batch norm.
    """

    def __init__(self, channels: int, condition: int, width: int = 64) -> None:
        super().__init__()
        self.main = nn.Sequential(_convolution(channels, 1), Residual(_convolution(channels, 9)))
        self.cls = _normalized(nn.Conv1d(channels, width, 1))
        self.cmapper = Equalized(condition, width)

    def forward(
        self, features: Float[Tensor, "b channels places"], condition: Float[Tensor, "b condition"]
    ) -> Float[Tensor, "b 1 places"]:
        wanted = self.cmapper(condition)[:, :, None]
        return (self.cls(self.main(features)) * wanted).sum(1, keepdim=True) / math.sqrt(wanted.shape[1])


class TokenDiscriminator(nn.Module):
    """A head on each of the maps that a frozen network sees in an image, each told what another sees in the LQ photo.

    `features` turns images in [0, 1] into maps of `channels` (one number for each), `condition` LQ photos into vectors
    of `condition_width`. Images are shown shifted, with a square cut out, differentiably (arXiv:2006.10738), if
    `augmented`.
    """

    def __init__(
        self,
        features: Callable[[Image, Generator], Maps],
        condition: Callable[[LowImage], Tensor],
        *,
        channels: Sequence[int],
        condition_width: int,
        width: int = 64,
        augmented: bool = True,
    ) -> None:
        super().__init__()
        self._frozen = (features, condition)  # in a tuple: they are no submodules, so neither trained nor saved
        self.augmented = augmented
        self.heads = nn.ModuleList(ProjectedHead(one, condition_width, width) for one in channels)

    def forward(self, image: Image, lq: LowImage, rng: Generator) -> list[Tensor]:
        """Return the logits of each head; gradients flow to the image."""
        features, condition = self._frozen
        shown = cut_out(shifted(2 * image - 1, rng), rng) if self.augmented else 2 * image - 1
        with torch.no_grad():
            told = condition(lq).detach().float()
        maps = features((shown + 1) / 2, rng)
        return [head(one.float(), told) for head, one in zip(self.heads, maps, strict=True)]


class SmallTokens:
    """All levels of the small perceptual network but its finest, their places in a row."""

    def __init__(self, network: SmallPerceptual) -> None:
        self.network = network
        weights = [network.weights[level] for level in _SMALL_LEVELS]
        self.channels = tuple(len(weight) for weight in weights)

    def __call__(self, image: Image, rng: Generator) -> Maps:
        maps = self.network(image)
        return [maps[level].flatten(2) for level in _SMALL_LEVELS]


class DinoTokens:
    """DINO's tokens, its class token added to each; of larger images a random part, or all of it made smaller."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.channels = (int(model.config.hidden_size),) * len(_TAPS)  # pyright: ignore

    def __call__(self, image: Image, rng: Generator) -> Maps:
        tokens = self.model(_normalized_colors(_reduced(image, DINO_PX, rng)), output_hidden_states=True).hidden_states
        return [(tokens[tap][:, 1:] + tokens[tap][:, :1]).transpose(1, 2) for tap in _TAPS]


class Dino2Class:
    """DINOv2's class token of photos at 518 px.

    As published the photos stay in [0, 1]; the colors that DINOv2 learned with are normalised.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.width = int(model.config.hidden_size)  # pyright: ignore

    def __call__(self, image: LowImage) -> Tensor:
        return self.model(F.interpolate(image, (DINO_2_PX, DINO_2_PX), mode="bilinear")).last_hidden_state[:, 0]


def load_dino_discriminator(dino: Path, dino_2: Path, device: torch.device) -> TokenDiscriminator:
    """Return it on the networks in two folders, DINO's ViT-S/16 and DINOv2's ViT-S/14 as transformers has them.

    Raises OSError where a folder holds no such network.
    """
    from transformers import Dinov2Model, ViTModel

    seeing = ViTModel.from_pretrained(dino, local_files_only=True, add_pooling_layer=False)
    telling = Dinov2Model.from_pretrained(dino_2, local_files_only=True)
    for model in (seeing, telling):
        nn.Module.to(model.eval().requires_grad_(False), device)
    return _on_dino(seeing, telling)


def blank_dino_discriminator() -> TokenDiscriminator:
    """Return it on "meta", on networks of the published shapes, to count it without weights."""
    from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

    with torch.device("meta"):
        seeing = ViTModel(ViTConfig(**_SMALL_VIT, intermediate_size=1536, patch_size=16), add_pooling_layer=False)
        telling = Dinov2Model(Dinov2Config(**_SMALL_VIT, mlp_ratio=4, patch_size=14, image_size=DINO_2_PX))
        return _on_dino(seeing, telling)


def _on_dino(seeing: nn.Module, telling: nn.Module) -> TokenDiscriminator:
    features = DinoTokens(seeing)
    condition = Dino2Class(telling)
    return TokenDiscriminator(features, condition, channels=features.channels, condition_width=condition.width)


def shifted(image: Tensor, rng: Generator, share: float = 0.125) -> Tensor:
    """Return each image moved by up to a share of its sides; what comes in is zero."""
    height, width = image.shape[-2:]
    most = round(height * share), round(width * share)
    wide = F.pad(image, (most[1], most[1], most[0], most[0]))
    corners = [[_drawn(2 * side + 1, rng) for side in most] for _ in image]
    return torch.stack(
        [one[:, top : top + height, left : left + width] for one, (top, left) in zip(wide, corners, strict=True)]
    )


def cut_out(image: Tensor, rng: Generator, share: float = 0.5) -> Tensor:
    """Return each image with a rectangle of a share of its sides set to zero, at the edge less of it."""
    kept = torch.ones_like(image[:, :1])
    height, width = image.shape[-2:]
    size = round(height * share), round(width * share)
    for one in kept:
        top = _drawn(height + 1, rng) - size[0] // 2
        left = _drawn(width + 1, rng) - size[1] // 2
        one[:, max(top, 0) : max(top + size[0], 0), max(left, 0) : max(left + size[1], 0)] = 0
    return image * kept


def _reduced(image: Image, size: int, rng: Generator) -> LowImage:
    height, width = image.shape[-2:]
    if min(height, width) > size and _drawn(2, rng):
        top = _drawn(height - size + 1, rng)
        left = _drawn(width - size + 1, rng)
        return image[..., top : top + size, left : left + size]
    return F.interpolate(image, (size, size), mode="area")


def _normalized_colors(image: LowImage) -> Tensor:
    mean, std = (torch.tensor(values, device=image.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (image - mean) / std


def _drawn(limit: int, rng: Generator) -> int:
    return int(torch.randint(limit, (), generator=rng))


def _normalized(convolution: nn.Conv1d) -> nn.Conv1d:
    return spectral_norm(convolution, eps=1e-12)


def _convolution(channels: int, size: int) -> nn.Sequential:
    convolution = nn.Conv1d(channels, channels, size, padding=size // 2, padding_mode="circular")
    return nn.Sequential(_normalized(convolution), nn.GroupNorm(4, channels), nn.LeakyReLU(0.2))
