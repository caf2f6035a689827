"""Recipes of a second small family: an autoencoder whose decoder paints, a prior on it, and D3SR from nothing on both.

Trained in this order, each with `--prior` the folder that the one before left. Of it no weights come with the package:
what nine minutes of a GPU made of it was behind the first family by every measure (docs/gpu-log.md).
"""

from copy import deepcopy
from dataclasses import replace

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from sdsr.discriminators.diffusion_unet import DiffusionDiscriminator
from sdsr.discriminators.projected import ProjectedDiscriminator
from sdsr.embedded.generative import GenerativeReconstruction
from sdsr.embedded.recipes import SMALL_PRIOR, Autoencoder, SmallPrior
from sdsr.losses.adversarial import BCE, HINGE
from sdsr.losses.efficientnet import load_efficientnet_lite
from sdsr.methods.one_step.recipes import D3SR_SMALL
from sdsr.methods.one_step.small import DecoderSettings, SmallOneStep
from sdsr.methods.one_step.whole_stages import whole_stages
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.objectives.discriminator import Discriminator, Discriminators, NoisyLatents, Pixels
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer

PLAN_2 = Plan(times=(199,), fidelity=0.2)


def of_pictures(model: object) -> Discriminator:
    """Return a projected discriminator on the features of EfficientNet-Lite1."""
    return Discriminator(ProjectedDiscriminator(load_efficientnet_lite("lite1")), Pixels(), HINGE)


def of_latents_and_pictures(restorer: Restorer) -> Discriminators:
    """Return the prior's own UNet, all its weights trained, beside the projected one."""
    unet = deepcopy(restorer.prior.modules["unet"])
    assert isinstance(unet, UNet2DConditionModel), "a small prior's UNet is diffusers'"
    network = DiffusionDiscriminator(unet, train="all", heads_on=(0,), hidden=128)
    of_latents = Discriminator(network, NoisyLatents(restorer.schedule), BCE)
    both: nn.Module = Discriminators(of_latents, of_pictures(restorer)).to(restorer.prior.device)
    assert isinstance(both, Discriminators), "moving keeps the kind"
    return both


SMALL_AUTOENCODER_2 = Recipe(
    name="small-autoencoder-2",
    paper="",
    summary="The second small prior's 8x autoencoder, whose decoder paints.",
    prior="",
    stages=(
        Stage(
            name="generative",
            method=Autoencoder(kind="folded"),
            objective=GenerativeReconstruction(),
            optimizer=OptimizerSettings(learning_rate=5e-4, warmup_steps=100, decay_from=0.5),
            discriminator=of_pictures,
            discriminator_optimizer=OptimizerSettings(
                learning_rate=3e-4, betas=(0.5, 0.99), warmup_steps=20, decay_from=0.6
            ),
            steps=20_000,
            batch=16,
            crop_px=256,
            ema_decay=0.995,
        ),
    ),
)

SMALL_PRIOR_2 = replace(
    SMALL_PRIOR,
    name="small-prior-2",
    summary="The second small prior: UNet, prompts and image encoder on its latents.",
    stages=(replace(SMALL_PRIOR.stages[0], method=SmallPrior(kind="folded"), batch=32, crop_px=256),),
)

DECODED_2 = SmallOneStep(decoder=DecoderSettings(), own_plan=PLAN_2, reads="velocity")
D3SR_SMALL_2 = replace(
    D3SR_SMALL,
    name="d3sr-small-2",
    summary="One step from the LQ latent on the second small prior, its decoder learning with it from the start.",
    prior="runs/prior",
    method=DECODED_2,
    stages=whole_stages(DECODED_2, of_latents_and_pictures, PLAN_2),
)

SECOND_FAMILY = {recipe.name: recipe for recipe in (SMALL_AUTOENCODER_2, SMALL_PRIOR_2, D3SR_SMALL_2)}
