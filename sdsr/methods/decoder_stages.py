"""The stages in which a small method's own decoder learns: from a teacher, from photos, then to be faithful."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from sdsr.losses.spectrum import spectral_peaks
from sdsr.losses.terms import (
    Term,
    against_teacher,
    artifact_l1,
    excess_detail,
    gradient_l1,
    image_l1,
    lattice,
    of_faithful,
)
from sdsr.methods.learning import Learns
from sdsr.methods.method import Method
from sdsr.methods.recipe import OptimizerSettings, Stage
from sdsr.methods.small_stages import DISCRIMINATOR_OPTIMIZER, image_discriminator
from sdsr.objectives.decoding import Decoding
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer

DETAILED = Learns(parts=("decoder",), but=("decoder.faithful",))
BOTH = Learns(parts=("decoder",))
FAITHFUL = Learns(parts=("decoder.faithful",))
SMALL_FIDELITY = 0.2
"""Of small methods' decoders; chosen by eye on degraded validation photos: with 0, noise gets crisp."""


def decoder_stages(method: Method, discriminator: Callable[[Restorer], nn.Module], plan: Plan) -> tuple[Stage, ...]:
    """Return them. All but the decoder stays as it is."""
    taught = Stage(
        name="decoder",
        method=method,
        learns=DETAILED,
        objective=Decoding(
            plan=plan,
            terms=(
                Term(name="taught_image", weight=1.0, function=partial(against_teacher, image_l1)),
                Term(name="taught_gradient", weight=1.0, function=partial(against_teacher, gradient_l1)),
                Term(name="image", weight=0.0, function=image_l1),
            ),
            taught=0.02,
        ),
        optimizer=OptimizerSettings(learning_rate=1e-3, warmup_steps=50, decay_from=0.6),
        steps=100_000,
        batch=8,
        crop_px=256,
        degradation="photo",
        taught=True,
        ema_decay=0.995,
        init_from="stage realism",
    )
    detail = replace(
        taught,
        name="detail",
        objective=_beyond_the_teacher(plan),
        discriminator=discriminator,
        discriminator_optimizer=DISCRIMINATOR_OPTIMIZER,
        optimizer=OptimizerSettings(learning_rate=3e-4, warmup_steps=50, decay_from=0.6),
        init_from="stage decoder",
    )
    faithful = replace(
        taught,
        name="faithful",
        learns=FAITHFUL,
        objective=Decoding(plan=plan, end="faithful", terms=(Term(name="image", weight=1.0, function=image_l1),)),
        init_from="stage detail",
    )
    return taught, detail, faithful


def tuning_stage(method: Method, plan: Plan, *, after: str) -> Stage:
    """Return that in which the default's decoder is tuned to what another method restores in the steps of `plan`.

    Both ends learn at once, so that latents of many steps are restored once. `after`: the stage that trains the method
    itself; `--from` is given its parts, and the default's decoder.
    """
    _, detail, _ = decoder_stages(method, image_discriminator, plan)
    beyond = _beyond_the_teacher(plan)
    faithful = Term(name="faithful", weight=1.0, function=partial(of_faithful, image_l1))
    return replace(
        detail,
        name="decoder",
        learns=BOTH,
        objective=replace(beyond, end="both", terms=(*beyond.terms, faithful)),
        init_from=f"stage {after} and d3sr-small's decoder",
    )


def _beyond_the_teacher(plan: Plan) -> Decoding:
    """Return the objective that is held to the HQ photos, and to a discriminator, too."""
    return Decoding(
        plan=plan,
        terms=(
            Term(name="taught_image", weight=0.5, function=partial(against_teacher, image_l1)),
            Term(name="image", weight=0.5, function=image_l1),
            Term(name="gradient", weight=0.3, function=gradient_l1),
            Term(name="lattice", weight=1.0, function=partial(lattice, 8, 4)),
            Term(name="spectral_peaks", weight=0.05, function=partial(spectral_peaks, 8)),
            Term(name="excess_detail", weight=0.0, function=partial(excess_detail, 1.2)),
            Term(name="artifacts", weight=0.0, function=artifact_l1),
        ),
        taught=0.02,
        features=0.5,
        adversarial_image=0.02,
        adversarial_from=0.05,
    )
