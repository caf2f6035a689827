"""Recipes of the networks that stand for LPIPS between latents: InvSR's own form, and one for the small prior."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from sdsr.losses.latent_perceptual import LatentPerceptual, LatentVgg16
from sdsr.losses.lpips import load_lpips
from sdsr.losses.perceptual import PerceptualDistance
from sdsr.losses.small_perceptual import load_small_perceptual
from sdsr.methods.invsr.latent_ranking import LatentRanking, LatentTeaching
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior


def teaching(
    prior: str | Prior,
    device: torch.device | str | None = None,
    *,
    network: Callable[[Prior], nn.Module],
    teacher: str | None = None,
) -> LatentTeaching:
    """What the recipes train; `teacher` is a file of LPIPS on VGG-16, None the embedded small perceptual network."""
    prior = load_prior(prior, device=device)
    distance = taught_by(teacher).to(prior.device)
    return LatentTeaching(prior=prior, network=network(prior).to(prior.device), teacher=distance)


def taught_by(teacher: str | None) -> PerceptualDistance:
    if teacher is not None:
        return load_lpips(Path(teacher))
    return load_small_perceptual().distance()


def small_network(prior: Prior) -> LatentPerceptual:
    return LatentPerceptual(prior.channels)


def vgg16_network(prior: Prior, *, classifier: str | None = None) -> LatentVgg16:
    """InvSR's network; `classifier` is ImageNet's VGG-16 to begin from, without which it begins at random."""
    network = LatentVgg16()
    if classifier is not None:
        network.begin_from(Path(classifier))
    return network


SMALL_LATENT_PERCEPTUAL = Recipe(
    name="small-latent-perceptual",
    paper="",
    summary="The network that stands in for LPIPS on the embedded prior's latents.",
    prior="small",
    stages=(
        Stage(
            name="ranking",
            system=partial(teaching, network=small_network),
            objective=LatentRanking(),
            optimizer=OptimizerSettings(learning_rate=1e-3, warmup_steps=50, decay_from=0.5),
            steps=10_000,
            batch=12,
            crop_px=96,
        ),
    ),
)

LATENT_PERCEPTUAL = replace(
    SMALL_LATENT_PERCEPTUAL,
    name="latent-perceptual",
    summary="InvSR's LPIPS on SD-Turbo's latents, trained by a recipe of ours.",
    prior="sd-turbo",
    stages=(
        replace(
            SMALL_LATENT_PERCEPTUAL.stages[0],
            system=partial(teaching, network=vgg16_network),
            optimizer=OptimizerSettings(learning_rate=1e-4, betas=(0.5, 0.999), warmup_steps=100, decay_from=0.5),
            steps=50_000,
            batch=8,
            crop_px=256,
        ),
    ),
)
"""Learning rate, betas and the falling rate are LPIPS's own; the rest is ours."""

LATENT_RECIPES = {recipe.name: recipe for recipe in (SMALL_LATENT_PERCEPTUAL, LATENT_PERCEPTUAL)}
