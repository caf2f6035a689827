"""SeeSR, and AddSR, which distils it to four steps.

SeeSR (arXiv:2311.16518): a ControlNet on the photo, and attention of UNet and ControlNet to soft tags of it, made by a
tagger that sees through degradation; fifty guided steps from the noised LQ latent. AddSR (arXiv:2404.01717): the same
networks at one to four of the times 999, 749, 499, 249, re-noised between them, where after each step what was seen of
the photo is refreshed with the result (`Plan.refinement`). Of the student learns what is special to SeeSR, image
attention and the layers on the photo; the ControlNet's copied body stays, and is the teacher's as well.

The numbers are those of the published configurations. Tags as words are not asked for: prompts are fixed, or the
user's.
"""

from copy import copy, deepcopy
from dataclasses import dataclass, replace
from functools import partial

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import nn

from sdsr.adapters.control import HINT_WIDTHS, photo_control, residuals
from sdsr.adapters.image_attention import ImageAttention
from sdsr.adapters.tagger import Tagger
from sdsr.data.prompts import prompts_of
from sdsr.diffusion.steps import ancestral, renoise
from sdsr.diffusion.times import trailing
from sdsr.errors import InputError
from sdsr.images.kernels import PILLOW_BICUBIC
from sdsr.losses.small_perceptual import load_small_perceptual
from sdsr.losses.terms import Term, gradient_l1, image_l1, lattice, unevenness
from sdsr.methods.addsr.discriminator import SmallTokens, TokenCritic, load_dino_critic
from sdsr.methods.addsr.distillation import Distillation, StepWeights, TokenGame
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.methods.small_canvas import SMALL_CANVAS
from sdsr.methods.tags import ATTENTION, CONTROL_ATTENTION, attach_tags
from sdsr.methods.variant import Variant
from sdsr.objectives.noise_matching import NoiseMatching
from sdsr.prior.evidence import Evidence, Testimony
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior
from sdsr.prior.small import SmallImageEncoder
from sdsr.prior.sources import resolve
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.plan import Plan, Refinement
from sdsr.restoration.restorer import Parts, Restorer, Witness, from_noised_photo
from sdsr.tensors import Latent, Time

CONTROLNET = "controlnet"
HINT = "controlnet_cond_embedding"
TEACHER = "teacher"
TIMES = trailing(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The shape of what SeeSR adds, and what of the ControlNet doesn't learn, by parts of its names.

    `head_width` is that of image attention's heads, None for that of the prior's; `begin` what its last layers begin
    at, as a share of their usual initialisation, and `hint_begin` the last layer on the photo. `tags`: whether there is
    a tagger; without, image attention is silent.
    """

    hint_widths: tuple[int, ...] = HINT_WIDTHS
    hint_begin: float | int = 0.0
    head_width: int | None = None
    begin: float | int = 1.0
    tags: bool = True
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoConditioner:
    """Tells the UNet the prompt, tags of the photo, and what the ControlNet, told the same, sees in its pixels.

    Tags are those of the part of the photo that is restored. `voice` says whose image attention is meant.
    """

    controlnet: ControlNetModel
    tagger: Tagger | None
    voice: str = ""

    def __call__(self, prior: Prior, photograph: Photograph, latent: Latent) -> Witness:
        image, tokens = photograph.enlarged().to(prior.device), None
        if self.tagger is not None:
            with torch.no_grad(), prior.precision():
                tokens = self.tagger(image)

        def testify(prompt: str) -> Testimony:
            told = Evidence(prompt=prior.embed(prompt), tokens=tokens, voice=self.voice)

            def controlled(noisy: Latent, t: int | Time) -> Evidence:
                with prior.precision():
                    return replace(told, residuals=residuals(self.controlnet, noisy, t, told, image))

            return controlled

        return testify


def system(
    prior: str | Prior,
    device: torch.device | str | None = None,
    *,
    network: Network | None = None,
    method: str = "seesr",
    training: bool = False,
) -> Restorer:
    """SeeSR on any prior; but for the tagger all of it learns that the network lets learn.

    The full tagger waits for its weights, if it is not to train beside; then it is filled by `--from`. `method` says
    whose prompts are used.
    """
    prior, network = load_prior(prior, device=device), network or Network()
    controlnet = photo_control(prior.unet, widths=network.hint_widths, begin=network.hint_begin)
    for name, parameter in controlnet.named_parameters():
        parameter.requires_grad_(not any(part in name for part in network.frozen))
    modules = nn.ModuleDict({CONTROLNET: controlnet})
    tagger = None
    if network.tags:
        tagger, tagged = attach_tags(
            prior, controlnet, head_width=network.head_width, begin=network.begin, training=training
        )
        modules.update(tagged)
    said = prompts_of(method, prior.text.vocabulary)
    return Restorer(
        prior=prior,
        parts=Parts(
            conditioner=PhotoConditioner(controlnet=controlnet, tagger=tagger),
            start=from_noised_photo,
            modules=modules,
            prompt=said.positive,
            negative_prompt=said.negative,
        ),
    )


def student(
    prior: str | Prior,
    device: torch.device | str | None = None,
    *,
    network: Network | None = None,
    training: bool = False,
) -> Restorer:
    """AddSR on any prior: SeeSR, unguided, whose ControlNet learns only its layers on the photo."""
    restorer = system(prior, device, network=network, method="addsr", training=training)
    for name, parameter in restorer.parts.modules[CONTROLNET].named_parameters():
        parameter.requires_grad_(name.startswith(HINT))
    return replace(restorer, parts=replace(restorer.parts, negative_prompt=None))


def teacher_of(restorer: Restorer) -> Restorer:
    """The teacher beside a student, as the student is now: image attention and layers on the photo of its own.

    It has the student's ControlNet for a body, which must not learn, and its tagger.
    """
    conditioner, own = restorer.parts.conditioner, restorer.parts.modules
    assert isinstance(conditioner, PhotoConditioner), "SeeSR's teacher teaches SeeSR's networks"
    controlnet = copy(conditioner.controlnet)
    controlnet._modules = {**controlnet._modules, HINT: deepcopy(controlnet.get_submodule(HINT))}
    modules = nn.ModuleDict({HINT: controlnet.get_submodule(HINT)})
    for name, network in ((ATTENTION, restorer.prior.unet), (CONTROL_ATTENTION, controlnet)):
        if name in own:
            modules[name] = _beside(own.get_submodule(name), network)
    telling = replace(conditioner, controlnet=controlnet, voice=TEACHER)
    return replace(restorer, parts=replace(restorer.parts, conditioner=telling, modules=modules))


def _beside(attention: nn.Module, network: nn.Module) -> ImageAttention:
    """A copy of an image attention, attached under the teacher's voice."""
    assert isinstance(attention, ImageAttention), "the student has no image attention of SeeSR's"
    copied = attention.copied(TEACHER)
    copied.attach(network)
    return copied


def leading(count: int) -> tuple[int, ...]:
    """Return `count` times as the prior's own scheduler spaces them, from 981 to 1 where there are 50.

    SeeSR begins with them although its latent is noised to 999 (published code).
    """
    if not 1 <= count <= 999:
        raise InputError(f"count of steps (={count}) must be in 1 ... 999; choose fewer or more steps.")
    stride = 1000 // count
    return tuple(min(stride * place + 1, 999) for place in reversed(range(count)))


def first_times(count: int) -> tuple[int, ...]:
    """Return the first `count` of AddSR's times; raise InputError where it has no such number."""
    if not 1 <= count <= len(TIMES):
        raise InputError(f"count of steps (={count}) must be in 1 ... {len(TIMES)}; choose one of these.")
    return TIMES[:count]


def critic_of(restorer: Restorer) -> TokenGame:
    """Heads on DINO's tokens, told DINOv2's view of the LQ photo; on a small prior, on what stands in for them."""
    if isinstance(restorer.prior.image, SmallImageEncoder):
        return _small_critic(restorer.prior, restorer.prior.image)
    return TokenGame(
        load_dino_critic(resolve("dino-vit-s"), resolve("dino-2-vit-s"), restorer.prior.device).to(
            restorer.prior.device
        )
    )


def _small_critic(prior: Prior, encoder: SmallImageEncoder) -> TokenGame:
    """Heads on the small perceptual network, told the prior's own view of the LQ photo."""
    tokens = SmallTokens(load_small_perceptual().to(prior.device))
    critic = TokenCritic(tokens, encoder, channels=tokens.channels, condition_width=encoder.width, width=32)
    return TokenGame(critic.to(prior.device))


CANVAS = Canvas(
    kernel=PILLOW_BICUBIC, native_px=512, small="photo enlarged first", shrink=PILLOW_BICUBIC, window_px=768
)
"""As published, but for two things. Deviation: windows of 768 px share a fourth, where 32 px leave seams; and canvases
are filled up by mirroring, where the published programs change the result's proportions to sides of whole cells.
"""

GUIDANCE, SMALL_GUIDANCE = 5.5, 1.5
SEESR_PLAN = Plan(times=leading(50), step=ancestral, start=999, guidance=GUIDANCE)
ADDSR_PLAN = Plan(times=TIMES, step=renoise, refinement=Refinement())
_PUBLISHED = OptimizerSettings(
    learning_rate=5e-5, betas=(0.9, 0.999), weight_decay=0.01, warmup_steps=0, decay_from=1.0, clip_norm=1.0
)

SEESR = Recipe(
    name="seesr",
    paper="arXiv:2311.16518",
    summary="ControlNet and image attention to tags on Stable Diffusion 2; 50 guided steps.",
    prior="sd-2-base",
    system=system,
    plan=SEESR_PLAN,
    canvas=CANVAS,
    color_fix="adain",
    listens=True,
    times_for=leading,
    stages=(
        Stage(
            name="restoration",
            system=partial(system, training=True),
            objective=NoiseMatching(guidance=GUIDANCE),
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

ADDSR = Recipe(
    name="addsr",
    paper="arXiv:2404.01717",
    summary="SeeSR distilled to one to four steps that look back at their own result.",
    prior="sd-2-base",
    system=student,
    plan=ADDSR_PLAN,
    canvas=CANVAS,
    color_fix="adain",
    listens=True,
    times_for=first_times,
    stages=(
        Stage(
            name="distillation",
            system=partial(student, training=True),
            objective=Distillation(plan=ADDSR_PLAN, teacher=teacher_of),
            optimizer=replace(_PUBLISHED, learning_rate=2e-5),
            critic=critic_of,
            critic_optimizer=replace(_PUBLISHED, learning_rate=2e-5),
            steps=50_000,
            batch=8,
            accumulate=2,
            crop_px=512,
            degradation="addsr",
            ema_decay=0.99,
            follows="seesr",
        ),
    ),
)

SMALL_NETWORK = Network(
    hint_widths=(16, 24, 32, 48),
    hint_begin=1.0,
    head_width=20,
    begin=0.1,
    frozen=("time_embedding.", "transformer_blocks.0.attn2.", "transformer_blocks.0.norm2."),
)
"""Of 5.0 million parameters at most; what is frozen is the prior's and not stored."""

SEESR_SMALL = replace(
    SEESR,
    name="seesr-small",
    summary="SeeSR on the embedded prior; 50 guided steps, slower than d3sr-small.",
    prior="small",
    system=partial(system, network=SMALL_NETWORK),
    plan=replace(SEESR_PLAN, guidance=SMALL_GUIDANCE),
    canvas=SMALL_CANVAS,
    color_fix="wavelet",
    stages=(
        replace(
            SEESR.stages[0],
            system=partial(system, network=SMALL_NETWORK, training=True),
            objective=NoiseMatching(in_pixels=True, clearer=0.4, guidance=SMALL_GUIDANCE),
            optimizer=OptimizerSettings(learning_rate=1e-3, warmup_steps=100, decay_from=0.6),
            steps=20_000,
            accumulate=1,
            crop_px=128,
            degradation="photo",
            ema_decay=0.99,
        ),
    ),
)

SMALL_ADDSR_PLAN = replace(ADDSR_PLAN, refinement=Refinement(weight=0.25))
"""Chosen on degraded validation photos: more of the result brings detail, and costs PSNR the faster."""

ADDSR_SMALL = replace(
    ADDSR,
    name="addsr-small",
    summary="AddSR on the embedded prior; 1 to 4 steps, behind d3sr-small.",
    prior="small",
    system=partial(student, network=SMALL_NETWORK),
    plan=SMALL_ADDSR_PLAN,
    canvas=SMALL_CANVAS,
    color_fix="wavelet",
    stages=(
        replace(
            ADDSR.stages[0],
            system=partial(student, network=SMALL_NETWORK, training=True),
            objective=Distillation(
                plan=SMALL_ADDSR_PLAN,
                teacher=teacher_of,
                draws=1,
                alone=0.25,
                looked_back=Refinement(),
                rollout=True,
                critics_from=0.05,
                terms=(
                    Term(name="image", weight=1.0, function=image_l1),
                    Term(name="gradient", weight=0.3, function=gradient_l1),
                    Term(name="unevenness", weight=1.0, function=unevenness(8)),
                    Term(name="lattice", weight=4.0, function=lattice(8)),
                ),
                ea_dists=0.05,
            ),
            optimizer=OptimizerSettings(learning_rate=6e-4, warmup_steps=50, decay_from=0.6),
            critic_optimizer=OptimizerSettings(learning_rate=3e-4, betas=(0.5, 0.99), warmup_steps=20, decay_from=0.6),
            steps=20_000,
            batch=8,
            accumulate=1,
            crop_px=128,
            degradation="photo",
            ema_decay=0.99,
            follows="seesr-small",
        ),
    ),
)
"""Deviation: later steps are trained on the student's own earlier ones, of which they are shown more than in restoring,
and some terms hold it to the HQ photo; with a prior this small, what it was not trained on shows."""


_AS_TRAINED = replace(ADDSR_SMALL, plan=ADDSR_PLAN)


def _weighed(weights: StepWeights) -> Variant:
    """A variant of the small recipe that weighs its steps otherwise, and looks back in restoring as in training."""
    return Variant(recipe=_AS_TRAINED, changes={"objective.weights": weights})


_UNREFINED = replace(ADDSR_PLAN, refinement=None)

ABLATIONS = {
    "addsr-weights": {
        "adaptive": _weighed(StepWeights()),
        "constant": _weighed(StepWeights(least=2.1, growth=1.0)),
        "adaptive, as published": _weighed(StepWeights(lagging=True)),
    },
    "addsr-refinement": {
        "refined": Variant(recipe=_AS_TRAINED),
        "not refined": Variant(
            recipe=replace(ADDSR_SMALL, plan=_UNREFINED),
            changes={"objective.plan": _UNREFINED, "objective.looked_back": Refinement(weight=0.0)},
        ),
    },
}
"""Weights of the same mean as the adaptive ones; self-refinement in training and restoring; on the small prior."""
