"""Soft tags of a photo for a UNet and its ControlNet: SeeSR's (arXiv:2311.16518), and a row of ConsisSR's prompts."""

from dataclasses import dataclass

import torch
from torch import nn

from sdsr.adapters.image_attention import ImageAttention
from sdsr.adapters.tagger import SmallTagger, SwinTagger, Tagger
from sdsr.prior.prior import Prior
from sdsr.prior.small import SmallImageEncoder
from sdsr.tensors import Image, PhotoTokens

ATTENTION = "attention"
CONTROL_ATTENTION = "control_attention"
TAGGER = "tagger"


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a photo; the tagger itself does not learn."""

    tagger: Tagger

    def __call__(self, image: Image) -> PhotoTokens:
        with torch.no_grad():
            return self.tagger(image)


def attach_tags(
    prior: Prior, controlnet: nn.Module, *, head_width: int | None, init_scale: float | int, deferred: bool
) -> tuple[Tags, dict[str, nn.Module]]:
    """Let both networks attend to tags; return who makes them of a photo, and the parts that hold weights.

    `head_width` and `init_scale` are those of `ImageAttention`. The tagger of a full prior waits for its weights on
    "meta", if it is `deferred`.
    """
    tagger = _tagger(prior, deferred=deferred)
    parts: dict[str, nn.Module] = {}
    for name, network in ((ATTENTION, prior.unet), (CONTROL_ATTENTION, controlnet)):
        parts[name] = attention = ImageAttention(
            network, token_width=tagger.width, head_width=head_width, init_scale=init_scale
        )
        attention.attach(network)
    if isinstance(tagger, nn.Module):
        parts[TAGGER] = tagger.requires_grad_(False)
    return Tags(tagger), parts


def _tagger(prior: Prior, *, deferred: bool) -> Tagger:
    """The small prior's own eyes, or DAPE's."""
    if isinstance(prior.image, SmallImageEncoder):
        return SmallTagger(prior.image)
    with torch.device("meta" if deferred else prior.device):
        return SwinTagger().eval()
