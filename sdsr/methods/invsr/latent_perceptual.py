"""Recipes of the networks that stand for LPIPS between latents: InvSR's own form, and one for the small prior."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sdsr.losses.latent_perceptual import LatentPerceptual, LatentVgg16
from sdsr.losses.lpips import load_lpips
from sdsr.losses.perceptual import PerceptualDistance
from sdsr.losses.small_perceptual import load_small_perceptual
from sdsr.methods.invsr import FACTS
from sdsr.methods.invsr.latent_ranking import LatentRanking, LatentTeaching
from sdsr.methods.method import Device
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """What the recipes train: a light network, or InvSR's, which is VGG-16 for latents.

    `teacher` is a file of LPIPS on VGG-16, None the embedded small perceptual network; `classifier` is ImageNet's
    VGG-16 for InvSR's to begin from, without which it begins at random.
    """

    network: Literal["small", "vgg16"] = "small"
    teacher: str | None = None
    classifier: str | None = None

    def build(self, prior: str | Prior, device: Device = None) -> LatentTeaching:
        """Return the network and its teacher, on the prior whose latents it shall compare."""
        prior = load_prior(prior, device=device)
        distance = taught_by(self.teacher).to(prior.device)
        network = LatentPerceptual(prior.channels) if self.network == "small" else _vgg16(self.classifier)
        return LatentTeaching(prior=prior, network=network.to(prior.device), teacher=distance)


def taught_by(teacher: str | None) -> PerceptualDistance:
    if teacher is not None:
        return load_lpips(Path(teacher))
    return load_small_perceptual().distance()


def _vgg16(classifier: str | None) -> LatentVgg16:
    network = LatentVgg16()
    if classifier is not None:
        network.begin_from(Path(classifier))
    return network


SMALL_LATENT_PERCEPTUAL = Recipe(
    facts=FACTS["small-latent-perceptual"],
    stages=(
        Stage(
            name="ranking",
            method=Ranked(),
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
    facts=FACTS["latent-perceptual"],
    stages=(
        replace(
            SMALL_LATENT_PERCEPTUAL.stages[0],
            method=Ranked(network="vgg16"),
            optimizer=OptimizerSettings(learning_rate=1e-4, betas=(0.5, 0.999), warmup_steps=100, decay_from=0.5),
            steps=50_000,
            batch=8,
            crop_px=256,
        ),
    ),
)
"""Learning rate, betas and the falling rate are LPIPS's own; the rest is ours."""
