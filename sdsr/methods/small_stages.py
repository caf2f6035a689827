"""The stages in which few-step methods learn on the small prior: by pixels first, then by discriminators as well;
and a discriminator of pictures that small models share.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from sdsr.discriminators.projected import ProjectedDiscriminator
from sdsr.losses.adversarial import HINGE
from sdsr.losses.efficientnet import load_efficientnet_lite
from sdsr.losses.terms import Term, gradient_l1, image_l1, latent_l2, lattice, unevenness
from sdsr.methods.method import Method
from sdsr.methods.recipe import OptimizerSettings, Stage
from sdsr.objectives.decoding import IN_TURN
from sdsr.objectives.discriminator import Discriminator, InTurn, Pixels
from sdsr.objectives.restoration import Restoration
from sdsr.restoration.restorer import Restorer

DISCRIMINATOR_OPTIMIZER = OptimizerSettings(learning_rate=3e-4, betas=(0.5, 0.99), warmup_steps=20, decay_from=0.6)
"""Of discriminators of small models."""


def image_discriminator(model: object) -> Discriminator:
    """Return a projected discriminator of pictures on the features of EfficientNet-Lite1, whatever makes them."""
    return Discriminator(ProjectedDiscriminator(load_efficientnet_lite("lite1")), Pixels(), HINGE)


def taught_discriminators(model: object) -> InTurn:
    """Return those on the features of the networks in turn, to which the teacher's pictures are the real ones."""
    networks = [ProjectedDiscriminator(load_efficientnet_lite(name)) for name in IN_TURN]
    return InTurn(*(Discriminator(network, Pixels(real="teacher"), HINGE) for network in networks))


def small_stages(
    method: Method,
    discriminators: Callable[[Restorer], nn.Module],
    objective: Restoration,
    *,
    first: str = "fidelity",
    **heard: object,
) -> tuple[Stage, Stage]:
    """Return both stages of a method; `objective` gives plan and starts, `heard` what it weighs in the second besides.

    A decoder this light is learned through, so pixels are compared and shown to a discriminator, and two terms stand
    against grids.
    """
    terms = (
        Term(name="latent", weight=0.2, function=latent_l2),
        Term(name="image", weight=1.0, function=image_l1),
        Term(name="gradient", weight=1.0, function=gradient_l1),
    )
    fidelity = Stage(
        name=first,
        method=method,
        objective=replace(objective, terms=terms),
        optimizer=OptimizerSettings(learning_rate=5e-4, warmup_steps=100, decay_from=1.0),
        steps=20_000,
        batch=16,
        crop_px=128,
        degradation="photo",
        ema_decay=0.99,
    )
    terms = (
        Term(name="latent", weight=0.1, function=latent_l2),
        Term(name="image", weight=1.0, function=image_l1),
        Term(name="gradient", weight=0.3, function=gradient_l1),
        Term(name="unevenness", weight=1.0, function=partial(unevenness, 8)),
        Term(name="lattice", weight=4.0, function=partial(lattice, 8, 4)),
    )
    weights = {"ea_dists": 0.05, "adversarial_from": 0.04, "adversarial_latent": 0.005, "adversarial_image": 0.05}
    realism = replace(
        fidelity,
        name="realism",
        objective=replace(objective, terms=terms, **weights, **heard),
        optimizer=OptimizerSettings(learning_rate=2e-4, warmup_steps=50, decay_from=0.6),
        discriminator=discriminators,
        discriminator_optimizer=DISCRIMINATOR_OPTIMIZER,
        batch=12,
        ema_decay=0.995,
        init_from=f"stage {first}",
    )
    return fidelity, realism
