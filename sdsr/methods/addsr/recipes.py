"""SeeSR's and AddSR's recipes: the published trainings, the small ones, and AddSR's tables.

SeeSR: arXiv:2311.16518; AddSR: arXiv:2404.01717. The numbers are those of the published configurations.
"""

from dataclasses import replace
from functools import partial

from sdsr.images.kernels import PILLOW_BICUBIC
from sdsr.losses.adversarial import SUMMED_HINGE
from sdsr.losses.small_perceptual import load_small_perceptual
from sdsr.losses.terms import Term, gradient_l1, image_l1, lattice, unevenness
from sdsr.methods.addsr import FACTS
from sdsr.methods.addsr.discriminator import (
    SmallTokens,
    TokenDiscriminator,
    blank_dino_discriminator,
    load_dino_discriminator,
)
from sdsr.methods.addsr.distillation import Distillation, StepWeights
from sdsr.methods.addsr.method import (
    ADDSR_PLAN,
    CONTROLNET,
    HINT,
    SEESR_PLAN,
    TIMES,
    SeeSR,
    leading,
    teacher_of,
)
from sdsr.methods.decoder_stages import SMALL_FIDELITY, tuning_stage
from sdsr.methods.guided_decoding import DecoderSettings
from sdsr.methods.learning import Learns
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.methods.small_canvas import SMALL_CANVAS
from sdsr.methods.small_stages import DISCRIMINATOR_OPTIMIZER
from sdsr.methods.tags import ATTENTION, CONTROL_ATTENTION
from sdsr.methods.variant import Variant
from sdsr.objectives.discriminator import Discriminator, PixelsBesideLq
from sdsr.objectives.noise_matching import NoiseMatching
from sdsr.prior.prior import Prior
from sdsr.prior.small import SmallImageEncoder
from sdsr.prior.sources import resolve
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.plan import Refinement
from sdsr.restoration.restorer import Restorer


def discriminator_of(restorer: Restorer) -> Discriminator:
    """Heads on DINO's tokens, told DINOv2's view of the LQ photo; on a small prior, on what stands in for them.

    On "meta" they need no weights. Raises ModelError.
    """
    if isinstance(restorer.prior.image, SmallImageEncoder):
        return _small_discriminator(restorer.prior, restorer.prior.image)
    device = restorer.prior.device
    if device.type == "meta":
        network = blank_dino_discriminator()
    else:
        network = load_dino_discriminator(resolve("dino-vit-s"), resolve("dino-2-vit-s"), device)
    return Discriminator(network.to(device), PixelsBesideLq(), SUMMED_HINGE)


def _small_discriminator(prior: Prior, encoder: SmallImageEncoder) -> Discriminator:
    """Heads on the small perceptual network, told the prior's own view of the LQ photo."""
    tokens = SmallTokens(load_small_perceptual().to(prior.device))
    discriminator = TokenDiscriminator(
        tokens, encoder, channels=tokens.channels, condition_width=encoder.width, width=32
    )
    return Discriminator(discriminator.to(prior.device), PixelsBesideLq(), SUMMED_HINGE)


CANVAS = Canvas(
    kernel=PILLOW_BICUBIC, native_px=512, small="photo enlarged first", shrink=PILLOW_BICUBIC, window_px=768
)
"""As published, but for two things. Deviation: windows of 768 px share a fourth, where 32 px leave seams; and canvases
are filled up by mirroring, where the published programs change the result's proportions to sides of whole cells.
"""

SMALL_GUIDANCE = 1.5
_PUBLISHED = OptimizerSettings(
    learning_rate=5e-5, betas=(0.9, 0.999), weight_decay=0.01, warmup_steps=0, decay_from=1.0, clip_norm=1.0
)

SEESR = Recipe(
    facts=FACTS["seesr"],
    method=SeeSR(),
    canvas=CANVAS,
    color_fix="adain",
    listens=True,
    most_steps=999,
    stages=(
        Stage(
            name="restoration",
            method=SeeSR(deferred=False),
            learns=Learns(parts=(CONTROLNET, ATTENTION, CONTROL_ATTENTION)),
            objective=NoiseMatching(guidance=SEESR_PLAN.guidance),
            optimizer=_PUBLISHED,
            steps=100_000,
            batch=16,
            accumulate=2,
            crop_px=512,
            degradation="seesr",
            ema_decay=0.0,
        ),
    ),
)

ADDSR_METHOD = SeeSR(role="addsr", own_plan=ADDSR_PLAN)
ADDSR_LEARNS = Learns(parts=(f"{CONTROLNET}.{HINT}", ATTENTION, CONTROL_ATTENTION))
"""What is special to SeeSR; the ControlNet's copied body stays, and is the teacher's as well."""

ADDSR = Recipe(
    facts=FACTS["addsr"],
    method=ADDSR_METHOD,
    canvas=CANVAS,
    color_fix="adain",
    listens=True,
    most_steps=len(TIMES),
    stages=(
        Stage(
            name="distillation",
            method=replace(ADDSR_METHOD, deferred=False),
            learns=ADDSR_LEARNS,
            objective=Distillation(plan=ADDSR_PLAN, teacher=teacher_of),
            optimizer=replace(_PUBLISHED, learning_rate=2e-5),
            discriminator=discriminator_of,
            discriminator_optimizer=replace(_PUBLISHED, learning_rate=2e-5),
            steps=50_000,
            batch=8,
            accumulate=2,
            crop_px=512,
            degradation="addsr",
            ema_decay=0.99,
            init_from="seesr",
        ),
    ),
)

SMALL_METHOD = SeeSR(
    hint_widths=(16, 24, 32, 48),
    hint_init_scale=1.0,
    head_width=20,
    init_scale=0.1,
    own_plan=replace(SEESR_PLAN, guidance=SMALL_GUIDANCE),
)
SEESR_SMALL_PLAN = replace(SEESR_PLAN, times=leading(10), guidance=SMALL_GUIDANCE, fidelity=SMALL_FIDELITY)
SMALL_SEESR = replace(SMALL_METHOD, decoder=DecoderSettings(), own_plan=SEESR_SMALL_PLAN)
SMALL_FIXED = (
    f"{CONTROLNET}.time_embedding",
    f"{CONTROLNET}.*.transformer_blocks.0.attn2.*",
    f"{CONTROLNET}.*.transformer_blocks.0.norm2.*",
)
"""Of 5.0 million parameters at most; what is fixed is the prior's and not stored."""

SEESR_SMALL = replace(
    SEESR,
    facts=FACTS["seesr-small"],
    method=SMALL_SEESR,
    canvas=SMALL_CANVAS,
    color_fix="none",
    stages=(
        replace(
            SEESR.stages[0],
            method=replace(SMALL_METHOD, deferred=False),
            learns=replace(SEESR.stages[0].learns, but=SMALL_FIXED),
            objective=NoiseMatching(in_pixels=True, clearer=0.4, guidance=SMALL_GUIDANCE),
            optimizer=OptimizerSettings(learning_rate=1e-3, warmup_steps=100, decay_from=0.6),
            steps=20_000,
            accumulate=1,
            crop_px=128,
            degradation="photo",
            ema_decay=0.99,
        ),
        tuning_stage(SMALL_SEESR, SEESR_SMALL_PLAN, after="restoration"),
    ),
)
"""Ten steps: more of them change little where a decoder of its own paints."""

SMALL_ADDSR_PLAN = replace(ADDSR_PLAN, refinement=Refinement(weight=0.25), fidelity=SMALL_FIDELITY)
"""Chosen on degraded validation photos: more of the result brings detail, and costs PSNR the faster."""

SMALL_STUDENT = replace(SMALL_METHOD, role="addsr", own_plan=SMALL_ADDSR_PLAN)
SMALL_ADDSR = replace(SMALL_STUDENT, decoder=DecoderSettings())

ADDSR_SMALL = replace(
    ADDSR,
    facts=FACTS["addsr-small"],
    method=SMALL_ADDSR,
    canvas=SMALL_CANVAS,
    color_fix="none",
    stages=(
        replace(
            ADDSR.stages[0],
            method=replace(SMALL_STUDENT, deferred=False),
            objective=Distillation(
                plan=SMALL_ADDSR_PLAN,
                teacher=teacher_of,
                draws=1,
                alone=0.25,
                looked_back=Refinement(),
                rollout=True,
                adversarial_from=0.05,
                terms=(
                    Term(name="image", weight=1.0, function=image_l1),
                    Term(name="gradient", weight=0.3, function=gradient_l1),
                    Term(name="unevenness", weight=1.0, function=partial(unevenness, 8)),
                    Term(name="lattice", weight=4.0, function=partial(lattice, 8, 4)),
                ),
                ea_dists=0.05,
            ),
            optimizer=OptimizerSettings(learning_rate=6e-4, warmup_steps=50, decay_from=0.6),
            discriminator_optimizer=DISCRIMINATOR_OPTIMIZER,
            steps=20_000,
            batch=8,
            accumulate=1,
            crop_px=128,
            degradation="photo",
            ema_decay=0.99,
            init_from="seesr-small",
        ),
        tuning_stage(SMALL_ADDSR, SMALL_ADDSR_PLAN, after="distillation"),
    ),
)
"""Deviation: later steps are trained on the student's own earlier ones, of which they are shown more than in restoring,
and some terms hold it to the HQ photo; with a prior this small, what it was not trained on shows."""


_AS_TRAINED = ADDSR_SMALL.with_plan(ADDSR_PLAN)


def _weighed(weights: StepWeights) -> Variant:
    """A variant of the small recipe that weighs its steps otherwise, and looks back in restoring as in training."""
    return Variant(recipe=_AS_TRAINED, stage="distillation", changes={"objective.weights": weights})


_UNREFINED = replace(ADDSR_PLAN, refinement=None)

RECIPES = (SEESR, SEESR_SMALL, ADDSR, ADDSR_SMALL)

ABLATIONS = {
    "addsr-weights": {
        "adaptive": _weighed(StepWeights()),
        "constant": _weighed(StepWeights(least=2.1, growth=1.0)),
        "adaptive, as published": _weighed(StepWeights(lagging=True)),
    },
    "addsr-refinement": {
        "refined": Variant(recipe=_AS_TRAINED, stage="distillation"),
        "not refined": Variant(
            recipe=ADDSR_SMALL.with_plan(_UNREFINED),
            stage="distillation",
            changes={"objective.plan": _UNREFINED, "objective.looked_back": Refinement(weight=0.0)},
        ),
    },
}
"""Weights of the same mean as the adaptive ones; self-refinement in training and restoring; on the small prior."""
