"""D3SR: one step from the LQ latent, a large diffusion UNet as discriminator, EA-DISTS; also on the embedded prior.

arXiv:2410.04224 (NeurIPS 2025). z_H = (z_L - sqrt(1 - a) eps(z_L; T_L)) / sqrt(a) at one fixed time T_L, no noise.
There is no published code. Deviation: T_L was never published; that of the same group's OSDFace, which is built alike,
is 399. The weights of the terms and the discriminator's text weren't either; what stands here is a guess within what
related work uses, to be swept once.

Deviation on the small prior: the paper trains LoRA on Stable Diffusion's UNet; a UNet this small is trained whole.
T_L is 99 there: the smaller T_L, the nearer to the identity the step begins, so a short training gets further at first.
After 40 steps the image L1 was 0.043 against 0.080 with 399, though at another learning rate; after 150 steps
validation PSNR was about equal (22.27 and 22.19 dB). A comparison under equal settings is open.
"""

import math
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from sdsr.discriminators.diffusion_unet import DiffusionDiscriminator
from sdsr.discriminators.patch import PatchDiscriminator
from sdsr.discriminators.sources import PRIOR, discriminator_unet
from sdsr.images.kernels import KEYS, PILLOW_BICUBIC, TORCH_BICUBIC
from sdsr.losses.adversarial import BCE
from sdsr.losses.terms import Term, against_teacher, blotches, drift, image_l2, local_energy_l1
from sdsr.methods.decoder_stages import DETAILED, decoder_stages
from sdsr.methods.guided_decoding import DecoderSettings
from sdsr.methods.learning import Learns
from sdsr.methods.one_step import FACTS, generator
from sdsr.methods.one_step.score_distillation import DistilledRestoration, ScoreDistillation
from sdsr.methods.one_step.small import PLAN, SmallOneStep
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.methods.settings import with_settings
from sdsr.methods.small_canvas import SMALL_CANVAS
from sdsr.methods.small_stages import image_discriminator, small_stages, taught_discriminators
from sdsr.methods.variant import Variant
from sdsr.objectives.decoding import Decoding
from sdsr.objectives.discriminator import Discriminator, Discriminators, NoisyLatents, Pixels
from sdsr.objectives.restoration import Restoration
from sdsr.prior.running import move_network
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisedDiscriminator:
    """A discriminator of noised latents, made of a pretrained UNet with low-rank updates of its own.

    `source` is that UNet's: a name or a folder as a prior's, or "prior" for the method's own prior (SD 2.1's, as in the
    paper's first versions). Latents stay those of the method's autoencoder; SDXL's own are scaled by 0.13025 instead of
    0.18215, which the updates have to learn.
    """

    source: str = "sdxl-base"

    def __call__(self, restorer: Restorer) -> Discriminators:
        prior = restorer.prior
        discriminator = move_network(DiffusionDiscriminator(discriminator_unet(prior, self.source)), prior.device)
        return Discriminators(
            Discriminator(discriminator, NoisyLatents(prior.schedule), BCE, precision=prior.precision)
        )


_GENERATION = Stage(
    name="generation",
    method=generator.D3SR,
    objective=Restoration(
        plan=Plan(times=(399,)),
        terms=(Term(name="image", weight=1.0, function=image_l2),),
        ea_dists=1.0,
        adversarial_from=0.0,
        adversarial_latent=0.05,
        adversarial_image=0.0,
    ),
    optimizer=OptimizerSettings(
        learning_rate=5e-5, betas=(0.9, 0.999), weight_decay=0.01, warmup_steps=0, decay_from=1.0, clip_norm=math.inf
    ),
    discriminator=NoisedDiscriminator(),
    steps=100_000,
    batch=2,
    crop_px=512,
    degradation="d3sr",
    ema_decay=0.0,
)
"""Published: AdamW with 5e-5 for both sides, 8 photos a step on 4 GPUs. DISTS wants its file in
`objective.dists_weights`; without it, the embedded small perceptual network stands in.
"""

CANVAS = Canvas(native_px=512, window_px=512)
"""The prior's own size; nothing was published."""

D3SR = Recipe(
    facts=FACTS["d3sr"],
    method=generator.D3SR,
    canvas=CANVAS,
    stages=(_GENERATION,),
)

_DISTILLATION = Stage(
    name="distillation",
    method=generator.OSEDIFF,
    objective=DistilledRestoration(),
    optimizer=replace(_GENERATION.optimizer, clip_norm=1.0),
    discriminator=ScoreDistillation(),
    steps=100_000,
    batch=4,
    crop_px=512,
    degradation="osediff",
    ema_decay=0.0,
)
"""As published, on 4 GPUs: 16 photos a step. LPIPS wants its file in `objective.lpips_weights`."""

OSEDIFF = replace(
    D3SR,
    facts=FACTS["osediff"],
    method=generator.OSEDIFF,
    canvas=Canvas(
        kernel=PILLOW_BICUBIC,
        native_px=512,
        small="photo enlarged first",
        shrink=PILLOW_BICUBIC,
        window_px=768,
        overlap_px=256,
    ),
    color_fix="adain",
    listens=True,
    stages=(_DISTILLATION,),
)
HYPIR = replace(
    OSEDIFF,
    facts=FACTS["hypir"],
    method=generator.HYPIR,
    canvas=Canvas(
        kernel=TORCH_BICUBIC,
        clamped=False,
        multiple_px=8,
        native_px=512,
        small="enlarged twice",
        kernel_twice=KEYS,
        window_px=512,
        overlap_px=256,
    ),
    color_fix="wavelet",
    stages=(),
)
"""Canvases are those of the published programs. Deviations: OSEDiff's forgets to shrink what it made larger; HYPIR's
fixes colors after it has; both give the sides of whole cells otherwise than by mirroring.

Both differ from D3SR's generator by values alone. HYPIR is restored with, not trained, here."""

UNDECODED = SmallOneStep(levels="first")
DECODED = SmallOneStep(levels="first", decoder=DecoderSettings(), encoder="linear")


def small_discriminators(restorer: Restorer) -> Discriminators:
    """A copy of the prior's UNet, wholly trained, as discriminator of latents; a light one of the pixels' detail."""
    unet = deepcopy(restorer.prior.stock)
    assert isinstance(unet, UNet2DConditionModel), "small priors predict by a UNet"
    unet.disable_gradient_checkpointing()  # its weights are frozen and freed between forward and backward
    network = DiffusionDiscriminator(unet, train="all", heads_on=(0,), hidden=128)
    return Discriminators(
        Discriminator(network, NoisyLatents(restorer.schedule), BCE),
        Discriminator(PatchDiscriminator(sees="image"), Pixels(), BCE),
    )


WHOLE = Learns(parts=("unet", "decoder"), but=DETAILED.but)
"""What a small UNet and its own decoder learn as one."""


def _wholly_trained(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Return a decoder's stages with one before the last: `whole`, where the UNet learns what the decoder needs.

    Its loss and its discriminators look through two networks in turn, for what one doesn't see becomes a mesh; its
    pairs are milder: on harder ones alone, results of camera photos got dirtier with time. It is held to the teacher's
    features nearly as much as to the HQ photo's, to its local energies, which ask for lines where the L1 of pixels asks
    for blur, and the teacher's pictures are the discriminators' real ones, which keeps meshes out of textures that
    can't be restored. Colors are held to the HQ photo: the teacher's are wrong by more than a blurred photo's.
    """
    *before, detail, faithful = stages
    objective = detail.objective
    assert isinstance(objective, Decoding), "the decoder stages learn to decode"
    objective = replace(
        objective, whole=True, network="in turn", taught=0.3, features=0.5, edges=0.15, adversarial_image=0.08
    )
    weights = {"taught_image": 0.3, "image": 0.1, "gradient": 0.1, "lattice": 2.0, "spectral_peaks": 0.1}
    objective = with_settings(objective, {f"terms.{name}.weight": weight for name, weight in weights.items()})
    others = (
        Term(name="taught_energy", weight=40.0, function=partial(against_teacher, local_energy_l1)),
        Term(name="drift", weight=1.0, function=partial(drift, 16)),
        Term(name="blotches", weight=2.0, function=partial(blotches, 4)),
        Term(name="fringes", weight=1.0, function=partial(blotches, 1)),
    )
    whole = replace(
        detail,
        name="whole",
        learns=WHOLE,
        objective=replace(objective, terms=(*objective.terms, *others)),
        discriminator=taught_discriminators,
        degradation="camera",
        optimizer=OptimizerSettings(learning_rate=2e-4, warmup_steps=50, decay_from=0.5),
        init_from="stage detail",
    )
    return *before, detail, whole, replace(faithful, init_from="stage whole")


D3SR_SMALL = Recipe(
    facts=FACTS["d3sr-small"],
    method=DECODED,
    canvas=SMALL_CANVAS,
    color_fix="none",
    stages=(
        *small_stages(UNDECODED, small_discriminators, Restoration(plan=PLAN)),
        *_wholly_trained(decoder_stages(DECODED, image_discriminator, PLAN)),
    ),
)


def _adversarial(**changes: float) -> Variant:
    settings = {f"objective.{name}": value for name, value in changes.items()}
    return Variant(recipe=D3SR_SMALL, stage="realism", changes=settings)


def _decoded(**shape: object) -> Variant:
    changes = {f"method.decoder.{name}": value for name, value in shape.items()}
    return Variant(recipe=D3SR_SMALL, stage="decoder", changes=changes)


def _whole(**changes: object) -> Variant:
    settings = {f"objective.{name}": value for name, value in changes.items()}
    return Variant(recipe=D3SR_SMALL, stage="whole", changes=settings)


def _detailed(**changes: object) -> Variant:
    settings = {f"objective.{name}" if name != "discriminator" else name: value for name, value in changes.items()}
    return Variant(recipe=D3SR_SMALL, stage="detail", changes=settings)


def _with_terms(**changes: float | None) -> Variant:
    names = {name: name if name == "discriminator" else f"terms.{name}.weight" for name in changes}
    return _detailed(**{names[name]: value for name, value in changes.items()})


def _discriminated_by(source: str) -> Variant:
    return Variant(recipe=D3SR, stage="generation", changes={"discriminator.source": source})


RECIPES = (D3SR_SMALL, D3SR, OSEDIFF, HYPIR)

ABLATIONS = {
    "d3sr-time": {
        f"T_L = {time}": Variant(recipe=D3SR_SMALL, stage="fidelity", changes={"objective.plan.times": (time,)})
        for time in (99, 199, 399)
    },
    "d3sr-discriminator": {
        "no discriminator": Variant(recipe=D3SR_SMALL, stage="realism", changes={"discriminator": None}),
        "of latents": _adversarial(adversarial_image=0.0),
        "of pixels": _adversarial(adversarial_latent=0.0),
        "both": _adversarial(),
    },
    "d3sr-decoder": {
        "latent and photo": _decoded(),
        "photo alone": _decoded(sees_latent=False),
        "photo alone, at the cost of both": _decoded(sees_latent=False, blocks=38),
    },
    "d3sr-detail": {
        "as in the recipe": _detailed(),
        "with excess_detail": _with_terms(excess_detail=1.0),
        "that, without discriminator": _with_terms(excess_detail=1.0, discriminator=None),
        "that, with LDL": _with_terms(excess_detail=1.0, artifacts=1.0),
    },
    "d3sr-whole": {
        "as in the recipe": _whole(),
        "without local energies": _whole(**{"terms.taught_energy.weight": 0.0}),
        "by the features of Lite1 alone": _whole(network="lite1"),
    },
    "d3sr-discriminator-size": {"SD 2.1": _discriminated_by(PRIOR), "SDXL": _discriminated_by("sdxl-base")},
}
"""T_L, discriminators and the decoder on the small prior; the paper's sizes of discriminators at full size."""
