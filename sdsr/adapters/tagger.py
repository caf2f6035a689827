"""Taggers: photos to tokens that say what is on them, for image attention.

SeeSR's is DAPE (arXiv:2311.16518), the tagging model RAM (arXiv:2306.03514) tuned to see through degradation. Of it
only what makes soft tags is here, a Swin transformer and a projection; names of tags, which it can be asked for as
well, would want the rest. It needs transformers, which is imported where it is built.
"""

from types import MappingProxyType
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

from sdsr.prior.network_config import NetworkConfig
from sdsr.prior.small import SmallImageEncoder
from sdsr.tensors import Image, PhotoTokens

SWIN_LARGE: NetworkConfig = MappingProxyType(
    {
        "image_size": 384,
        "window_size": 12,
        "embed_dim": 192,
        "depths": (2, 2, 18, 2),
        "num_heads": (6, 12, 24, 48),
        "drop_path_rate": 0.0,
    }
)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Tagger(Protocol):
    """Photos to tokens, (b, n, `width`)."""

    @property
    def width(self) -> int: ...

    def __call__(self, image: Image) -> PhotoTokens: ...


class SwinTagger(nn.Module):
    """RAM's soft tags: the mean of all places and the 12 x 12 places, 145 tokens of 512.

    The photo is squashed to 384 px, bicubic without antialiasing and not clamped, as in SeeSR's training and in AddSR.
    Deviation: SeeSR's test program makes the first tokens from the photo before it is enlarged, bilinear.
    """

    def __init__(self, *, swin: NetworkConfig = SWIN_LARGE, width: int = 512) -> None:
        from transformers import SwinConfig, SwinModel

        super().__init__()
        self.visual_encoder = SwinModel(SwinConfig(**swin))
        self.image_proj = nn.Linear(self.visual_encoder.num_features, width)
        self.size_px: int = swin["image_size"]

    @property
    def width(self) -> int:
        return self.image_proj.out_features

    def forward(self, image: Image) -> PhotoTokens:
        mean, std = (torch.tensor(values, device=image.device).view(1, 3, 1, 1) for values in (MEAN, STD))
        squashed = F.interpolate(image, (self.size_px, self.size_px), mode="bicubic")
        seen = self.visual_encoder((squashed - mean) / std)
        return self.image_proj(torch.cat([seen.pooler_output[:, None], seen.last_hidden_state], dim=1))


class SmallTagger:
    """The small stand-in: the 4 x 4 places of a prior's image encoder and their mean, 17 tokens, nothing of its own."""

    def __init__(self, encoder: SmallImageEncoder) -> None:
        self.encoder = encoder

    @property
    def width(self) -> int:
        return self.encoder.out.in_features // 4

    def __call__(self, image: Image) -> PhotoTokens:
        places = self.encoder.features(image).flatten(2).transpose(1, 2)
        return torch.cat([places.mean(1, keepdim=True), places], dim=1)
