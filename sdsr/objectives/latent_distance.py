"""What stands for LPIPS between two latents: InvSR's network, the small one, or the prior's own features.

InvSR (arXiv:2412.09013) measures restored latents with an LPIPS whose VGG-16 was tuned to see latents. That file is
published; how it was tuned is not. Deviation: where no file is given, features of the prior's own UNet take its place,
which needs no training and fits any prior, but was never shown to agree with people.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from sdsr.discriminators.diffusion_unet import down_and_mid
from sdsr.errors import ModelError
from sdsr.losses.latent_perceptual import is_small, load_latent_perceptual
from sdsr.losses.lpips import load_lpips
from sdsr.losses.perceptual import feature_distance
from sdsr.prior.prior import Prior
from sdsr.tensors import Float, Latent

LatentDistance = Callable[[Latent, Latent], Tensor]
PRIOR = "prior"


def latent_distance(prior: Prior, weights: str = PRIOR) -> LatentDistance:
    """Return the per-photo distance of latents by the network in a file, or by the prior's own features ("prior").

    The file is InvSR's published one or one of `LatentPerceptual`; ModelError where it sees other latents.
    """
    if weights == PRIOR:
        return partial(prior_distance, prior)
    path = Path(weights)
    if is_small(path):
        network = load_latent_perceptual(path)
        if network.channels != prior.channels:
            raise ModelError(
                f"weights (={path}) see latents of {network.channels} channels, those of {prior.name} have "
                f"{prior.channels}; train `small-latent-perceptual` on this prior."
            )
        distance = network.distance()
    else:
        distance = load_lpips(path, "latent_vgg16")
    return distance.to(prior.device)


def prior_distance(prior: Prior, x: Latent, y: Latent) -> Float[Tensor, " b"]:
    """LPIPS's form on the down and middle features of the prior's own UNet, which sees latents without noise."""
    left, right = (_features(prior, latent) for latent in (x, y))
    return feature_distance(left, right)


def _features(prior: Prior, latent: Latent) -> list[Tensor]:
    t = torch.zeros(len(latent), dtype=torch.int64, device=latent.device)
    unet = prior.stock
    assert isinstance(unet, UNet2DConditionModel), "a prior's UNet is diffusers'"
    context = prior.embed("").expand(len(latent), -1, -1)
    with prior.precision():
        return [feature.float() for feature in down_and_mid(unet, latent, t, context)]
