"""InvSR: the prior as it is, started from the LQ latent and the noise that a small network predicts for this photo.

arXiv:2412.09013 (CVPR 2025). n = mu + exp(log variance / 2) eps, with (mu, log variance) from the photo as it was given
and the start's time; x = sqrt(a) z_LQ + sqrt(1 - a) n; then one to five ordinary steps of the prior. Only the predictor
learns. The published program writes the same state divided by sqrt(a), as Euler's method in sigma does.

The predictor's grid has two pixels of the photo to a cell of the latent, so the photo must be a fourth of its canvas.
Deviation: the published program enlarges by 4 only. For other sizes the photo is resampled to a fourth of the result
first, which for an enlargement below 4 costs the predictor detail that the latent still has.
Deviation: the noise is that of the canvas, where published windows each draw their own and are blended as pictures.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from sdsr.adapters.hybrid_attention import HybridAttention, HybridSettings
from sdsr.adapters.image_prompt import ImagePrompt
from sdsr.critics.latent_unet import LatentUnetCritic
from sdsr.critics.patch import PatchCritic
from sdsr.data.prompts import prompts_of
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.errors import InputError
from sdsr.images.kernels import KEYS, TORCH_BICUBIC
from sdsr.methods.invsr.predictor import HALVING, NoisePredictor
from sdsr.methods.invsr.times import TRAINED_STARTS, at_fidelity, automatic_start, plan_for, times_for
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage, Starts
from sdsr.methods.small_canvas import SMALL_CANVAS
from sdsr.methods.small_stages import small_stages
from sdsr.methods.variant import Variant
from sdsr.objectives.critics import CleanLatents, Critics, Pixels
from sdsr.objectives.restoration import Restoration
from sdsr.prior.evidence import Evidence
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import ImageEncoder, Prior
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.prompting import PromptConditioner
from sdsr.restoration.restorer import Conditioner, Parts, Restorer, Seen, Witness, latent_region
from sdsr.tensors import Image, Latent, Time

PART = "noise_predictor"
STARTS = tuple(start - 1 for start in TRAINED_STARTS)


@dataclass(frozen=True, slots=True)
class PredictedNoise:
    """Starts with the LQ latent, noised up to the start's time by the noise predicted for its photo."""

    predictor: NoisePredictor
    prior: Prior

    def __call__(self, schedule: NoiseSchedule, seen: Seen, t: int | Time, noise: Callable[[], Latent]) -> Latent:
        photo = reduced(seen.photograph, self.prior.factor // HALVING).to(seen.latent)
        with self.prior.precision():
            predicted = self.predictor(photo, t)
        return schedule.noisy(seen.latent, predicted.sample(noise()), t)


def reduced(photograph: Photograph, divisor: int) -> Image:
    """Return this part of the photo with its canvas divided: the pixels as given, where that is how it was enlarged.

    Sizes round up, so that the last pixel may be stretched over up to one more.
    """
    height, width = (-(-side // divisor) for side in photograph.size)
    region = latent_region(photograph.region, divisor)
    multiple = photograph.multiple // divisor
    small = replace(photograph, size=(height, width), multiple=multiple, region=region, kernel=KEYS, clamped=True)
    return small.enlarged()


def system(
    prior: str | Prior,
    device: torch.device | str | None = None,
    *,
    predictor: Callable[..., NoisePredictor] = NoisePredictor,
    photo_token: bool = False,
) -> Restorer:
    """The restorer on any prior, with the published prompt where the prior understands it.

    The predictor begins as plain noise, whatever the photo: its last layer is zero. The rest is the same each time.
    Deviation: the published one begins at random. With `photo_token` the prior is told a token of the photo as well, by
    ConsisSR's hybrid attention without its other additions: a content-aware prompt, which InvSR's authors name as
    missing.
    """
    prior = load_prior(prior, device=device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        learns = predictor(latent_channels=prior.channels)
    for parameter in learns.conv_out.parameters():
        nn.init.zeros_(parameter)
    learns.to(prior.device)
    said = prompts_of("invsr", prior.text.vocabulary)
    conditioner, modules = PromptConditioner(prior), nn.ModuleDict({PART: learns})
    if photo_token:
        conditioner, added = told_photo(prior)
        modules.update(added)
    return Restorer(
        prior=prior,
        parts=Parts(
            conditioner=conditioner,
            start=PredictedNoise(learns, prior),
            modules=modules,
            prompt=said.positive,
            negative_prompt=said.negative,
        ),
    )


@dataclass(frozen=True, slots=True)
class TokenConditioner:
    """Tells a prompt, and a token of the photo."""

    encoder: ImageEncoder
    image_prompt: ImagePrompt

    def __call__(self, prior: Prior, photograph: Photograph, latent: Latent) -> Witness:
        with prior.precision():
            with torch.no_grad():
                embedding = self.encoder(photograph.enlarged().to(prior.device))
            tokens = self.image_prompt(embedding)
        return lambda prompt: Evidence(prompt=prior.embed(prompt), tokens=tokens)


def told_photo(prior: Prior) -> tuple[Conditioner, dict[str, nn.Module]]:
    """Let the prior's UNet attend to a token of the photo; return what tells it, and the modules that learn to."""
    encoder = prior.image
    if encoder is None:
        raise InputError(
            f"photo_token needs an image encoder, which prior (={prior.name}) lacks; add one to its folder."
        )
    hybrid = HybridAttention(prior.unet, HybridSettings(image="shared", positional=False, transposed=False))
    hybrid.attach(prior.unet)
    image_prompt = ImagePrompt(encoder.width, prior.unet.config["cross_attention_dim"]).to(prior.device)

    return TokenConditioner(encoder, image_prompt), {"hybrid": hybrid, "image_prompt": image_prompt}


def critics(system: Restorer, *, critic: Callable[..., LatentUnetCritic] = LatentUnetCritic) -> Critics:
    """A critic of latents, told the prompt, that begins at random."""
    context = system.prior.embed(system.parts.prompt or "")
    judge = critic(latent_channels=system.channels, context_width=context.shape[-1])
    return Critics(CleanLatents(judge, context))


_published_system = partial(system, predictor=NoisePredictor)

_INVERSION = Stage(
    name="inversion",
    system=_published_system,
    objective=Restoration(
        plan=plan_for(), starts=STARTS, latent_lpips=2.0, critics_from=0.1, latent_critic=0.1, image_critic=0.0
    ),
    optimizer=OptimizerSettings(
        learning_rate=5e-5, betas=(0.9, 0.999), warmup_steps=2_000, decay_from=1.0, clip_norm=math.inf
    ),
    critic=partial(critics, critic=LatentUnetCritic),
    critic_optimizer=OptimizerSettings(
        learning_rate=5e-5, betas=(0.9, 0.999), weight_decay=1e-3, warmup_steps=0, decay_from=1.0, clip_norm=math.inf
    ),
    steps=100_000,
    batch=16,
    crop_px=512,
    degradation="invsr",
    ema_decay=0.999,
)
"""As published, on 4 GPUs: 64 photos a step. InvSR's latent LPIPS wants its file in `objective.latent_lpips_weights`.

Deviation: the critic's weight decay is decoupled from its gradients, as AdamW's is; published, it has Adam's.
"""

CANVAS = Canvas(kernel=TORCH_BICUBIC, clamped=False, native_px=512, small="mirrored", window_px=512, overlap_px=256)
"""As published: photos below 128 px are mirrored up to it all around, others up to multiples of 16 px, and enlarged.

In windows of 512 px the predictor attends to 16,384 tokens; in larger ones, its work outgrows all the rest.
"""

INVSR = Recipe(
    name="invsr",
    paper="arXiv:2412.09013",
    summary="SD-Turbo in one to five steps from a predicted noise; the published predictor fits.",
    prior="sd-turbo",
    system=_published_system,
    plan=plan_for(),
    listens=True,
    times_for=times_for,
    starts=Starts(trained=TRAINED_STARTS, times_for=times_for, automatic=automatic_start),
    at_fidelity=at_fidelity,
    canvas=CANVAS,
    stages=(_INVERSION,),
)

small_predictor = partial(NoisePredictor, widths=(96, 192), attention=(False, False, False))
"""4.2 million parameters. Deviation: without attention, which for 1024 px would multiply its operations."""

small_system = partial(system, predictor=small_predictor)


small_critic = partial(
    LatentUnetCritic, widths=(48, 64, 96), attention_heads=(4, 4, 4), norm_groups=16, pooling_heads=8
)


def small_critics(system: Restorer, *, critic: Callable[..., LatentUnetCritic] = small_critic) -> Critics:
    """The published critic at a fraction of its size, and a light critic of the pixels' detail."""
    return Critics(critics(system, critic=critic).latent, Pixels(PatchCritic(sees="image")))


INVSR_SMALL = replace(
    INVSR,
    name="invsr-small",
    summary="A predicted noise and one to five steps on the embedded prior.",
    prior="small",
    system=small_system,
    listens=False,
    canvas=SMALL_CANVAS,
    stages=small_stages(
        small_system,
        small_critics,
        Restoration(plan=plan_for(), starts=STARTS),
        first="inversion",
        latent_lpips=0.1,
    ),
)
"""Deviation: with a decoder this light, pixels are compared as well, and judged; the stages are D3SR's small ones."""


def _with(**settings: Any) -> Recipe:
    """The small recipe whose system has other settings."""
    built = partial(small_system, **settings)
    stages = tuple(replace(stage, system=built) for stage in INVSR_SMALL.stages)
    return replace(INVSR_SMALL, system=built, stages=stages)


def _varied(recipe: Recipe = INVSR_SMALL, **changes: Any) -> Variant:
    """A variant of the small recipe's second stage."""
    return Variant(
        recipe=recipe, stage="realism", changes={f"objective.{name}": value for name, value in changes.items()}
    )


ABLATIONS = {
    "invsr-prompt": {
        "fixed prompt": Variant(recipe=INVSR_SMALL, stage="inversion"),
        "and a token of the photo": Variant(recipe=_with(photo_token=True), stage="inversion"),
    },
    "invsr-terms": {
        "L2": _varied(latent_lpips=0.0, ea_dists=0.0, latent_critic=0.0, image_critic=0.0),
        "L2 and latent LPIPS": _varied(ea_dists=0.0, latent_critic=0.0, image_critic=0.0),
        "L2 and critics": _varied(latent_lpips=0.0, ea_dists=0.0),
        "all": _varied(),
    },
}
"""What semantic prompts add, which the authors did not try, and the paper's table of terms, on the small prior."""
