"""StableSR: maps of the LQ latent, made by an encoder that is told the time, scale and shift inside the prior's UNet.

arXiv:2305.07015 (IJCV 2024). The UNet is told an empty prompt and, in every residual block, the maps of the time-aware
encoder (`modulation.py`). A second stage lets the decoder take details of the LQ photo, as many as the user wants
(`Plan.fidelity`, the paper's w; `feature_wrapping.py`). Photos larger than the prior's own size are restored in windows
whose estimates are blended at every step (`restoration/windowed.py`, which is this paper's too).

The numbers are those of the published configurations; what was not published is said beside it.
"""

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from torch import nn

from sdsr.critics.patch import PatchCritic
from sdsr.data.prompts import prompts_of
from sdsr.diffusion.steps import ancestral
from sdsr.diffusion.times import spaced
from sdsr.images.color import SIGNED_VARIANCE_FLOOR
from sdsr.images.kernels import TORCH_BICUBIC
from sdsr.images.windows import published_weight
from sdsr.losses.terms import Term, lattice, unevenness
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.methods.small_canvas import SMALL_CANVAS
from sdsr.methods.stablesr.decoder import WrappedDecoder
from sdsr.methods.stablesr.encoder import EncoderSettings, TimeAwareEncoder
from sdsr.methods.stablesr.feature_wrapping import FeatureWrapping
from sdsr.methods.stablesr.fusion import Fusion, PatchJudge
from sdsr.methods.stablesr.modulation import Modulation
from sdsr.methods.variant import Variant
from sdsr.objectives.noise_matching import NoiseMatching
from sdsr.prior.evidence import Evidence, Testimony
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior
from sdsr.prior.small import SmallLatents
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.prior.stable_diffusion import PublishedLatents
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Parts, Restorer, Start, Witness, from_noise, from_noised_photo
from sdsr.restoration.windowed import Windowed
from sdsr.tensors import Latent, Time

ENCODER, MODULATION, WRAPPING = "time_aware_encoder", "modulation", "feature_wrapping"
Learns = Literal["modulation", "fusion", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The shape of what StableSR adds; the defaults are those published: 52,494,080 and 53,020,160 and 44,393,728.

    `hidden`: channels inside each modulation. `blocks` and `growth` are those of the feature wrapping, which normalises
    like the autoencoder: in as many groups, or not at all.
    """

    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    hidden: int = 128
    blocks: int = 2
    growth: int = 32


PUBLISHED = Network()


@dataclass(frozen=True, slots=True)
class MapConditioner:
    """Tells the UNet a prompt and, at each time, the encoder's maps of the LQ latent."""

    encoder: TimeAwareEncoder

    def __call__(self, prior: Prior, photograph: Photograph, latent: Latent) -> Witness:
        def testify(prompt: str) -> Testimony:
            told = Evidence(prompt=prior.embed(prompt))

            def mapped(noisy: Latent, t: int | Time) -> Evidence:
                with prior.precision():
                    return replace(told, maps=self.encoder(latent, t))

            return mapped

        return testify


def system(
    prior: str | Prior,
    device: torch.device | str | None = None,
    *,
    network: Network = PUBLISHED,
    start: Start = from_noise,
    learns: Learns = "all",
) -> Restorer:
    """The restorer on any prior; `learns` says which of its parts do.

    The encoder has as many levels as the UNet. The modulation begins at random, as published: even untrained it changes
    the UNet. Deviation: the feature wrapping begins by adding nothing, so that a run of the first stage alone restores.
    """
    prior = load_prior(prior, device=device)
    levels = len(prior.unet.config["block_out_channels"])
    settings = replace(network.encoder, widths=tuple(network.encoder.widths)[:levels])
    encoder = TimeAwareEncoder(prior.channels, settings).to(prior.device)
    modulation = Modulation(prior.unet, map_channels=network.encoder.map_channels, hidden=network.hidden)
    modulation.attach(prior.unet)
    wrapping = _silent_wrapping(prior, network)
    modules = nn.ModuleDict({ENCODER: encoder, MODULATION: modulation, WRAPPING: wrapping})
    for name, module in modules.items():
        module.requires_grad_(learns == "all" or (learns == "fusion") == (name == WRAPPING))
    said = prompts_of("stablesr", prior.text.vocabulary)
    return Restorer(
        prior=prior,
        parts=Parts(
            conditioner=MapConditioner(encoder),
            start=start,
            modules=modules,
            prompt=said.positive,
            negative_prompt=said.negative or None,
            decoder=WrappedDecoder(wrapping),
        ),
    )


def _silent_wrapping(prior: Prior, network: Network) -> FeatureWrapping:
    """A fusion that gives nothing at first: nothing is merged, and without biases nothing stays nothing."""
    assert isinstance(prior.autoencoder, PublishedLatents | SmallLatents), "features are read from autoencoders we know"
    model = prior.autoencoder.model
    groups = None if isinstance(model, SmallAutoencoder) else model.config["norm_num_groups"]
    wrapping = FeatureWrapping(model, blocks=network.blocks, growth=network.growth, groups=groups)
    for name, parameter in wrapping.named_parameters():
        if name.endswith(".bias") or ".merge.conv2." in name or ".merge.shortcut." in name:
            nn.init.zeros_(parameter)
    return wrapping


def patch_judge(system: Restorer, *, widths: tuple[int, ...] = (64, 128, 256, 512)) -> PatchJudge:
    """The critic of the second stage. Deviation: spectral norms and three scales, where PatchGAN has batch norms."""
    return PatchJudge(PatchCritic(widths))


CANVAS = Canvas(
    kernel=TORCH_BICUBIC, multiple_px=32, native_px=512, shrink=TORCH_BICUBIC, window_px=512, overlap_px=256
)
CANVAS_768 = replace(CANVAS, native_px=768, window_px=768, overlap_px=384)
"""As published: at least the prior's own size, mirrored below and to the right to multiples of 32, in windows of it."""

published_windows = partial(Windowed, window_px=512, overlap_px=256, weight=published_weight)
"""Aggregation sampling exactly as published: 64 cells, 32 of them shared, weights half a cell off center in rows."""

published_windows_768 = partial(published_windows, window_px=768, overlap_px=384)

PLAN = Plan(times=spaced(200), step=ancestral)

_CONSTANT = OptimizerSettings(
    learning_rate=5e-5, betas=(0.9, 0.999), weight_decay=0.01, warmup_steps=0, decay_from=1.0, clip_norm=math.inf
)
_MODULATION = Stage(
    name="modulation",
    system=partial(system, learns="modulation"),
    objective=NoiseMatching(),
    optimizer=_CONSTANT,
    steps=16_500,
    batch=6,
    accumulate=4,
    crop_px=512,
    degradation="stablesr",
    ema_decay=0.0,
)
"""As published, on 8 GPUs: 6 x 4 x 8 = 192 photos a step. That there were 8 is inferred, from the steps and epochs."""

_ADAM = replace(_CONSTANT, betas=(0.5, 0.9), weight_decay=0.0)
_FUSION = Stage(
    name="fusion",
    system=partial(system, start=from_noised_photo, learns="fusion"),
    objective=Fusion(),
    optimizer=_ADAM,
    steps=17_000,
    batch=1,
    accumulate=8,
    crop_px=512,
    degradation="stablesr",
    critic=patch_judge,
    critic_optimizer=_ADAM,
    ema_decay=0.0,
    follows="stage modulation",
)
"""As published; the critic is heard from step 501. Steps are ours: 11 epochs of 100,000 photos on 8 GPUs."""

STABLESR = Recipe(
    name="stablesr",
    paper="arXiv:2305.07015",
    summary="Time-aware maps modulate Stable Diffusion 2.1; 200 steps; the decoder takes details of the photo.",
    prior="sd-2.1-base",
    system=system,
    plan=PLAN,
    color_fix="adain",
    adain_floor=SIGNED_VARIANCE_FLOOR,
    times_for=spaced,
    canvas=CANVAS,
    stages=(_MODULATION, _FUSION),
)
"""As the paper restores 128 px photos: from pure noise. The published programs for any size begin as the others do."""

STABLESR_768V = replace(
    STABLESR,
    name="stablesr-768v",
    summary="StableSR for 768 px on the prior that predicts velocity; 200 steps.",
    prior="sd-2.1",
    system=partial(system, start=from_noised_photo),
    canvas=CANVAS_768,
    stages=(replace(_MODULATION, steps=40_000, batch=3, crop_px=768, degradation="stablesr_768v"),),
)
"""Published without a fusion of its own: that of 512 px is used. Steps are ours, about the 139 epochs published."""

STABLESR_TURBO = replace(
    STABLESR,
    name="stablesr-turbo",
    summary="StableSR's parts, as they are, on SD-Turbo; 4 steps.",
    prior="sd-turbo",
    system=partial(system, start=from_noised_photo),
    plan=replace(PLAN, times=spaced(4)),
    color_fix="wavelet",
    stages=(),
)
"""Nothing is trained for it: the authors put the parts that were trained on SD 2.1 beside SD-Turbo's UNet."""

SMALL_NETWORK = Network(
    encoder=EncoderSettings(widths=(96, 128), blocks=1, attention_at=(2,), map_channels=64),
    hidden=32,
    blocks=1,
    growth=8,
)
"""4,669,600 parameters on the embedded prior."""

_small_system = partial(system, network=SMALL_NETWORK, start=from_noised_photo)

STABLESR_SMALL = replace(
    STABLESR,
    name="stablesr-small",
    summary="StableSR on the embedded prior; 50 steps, slower than d3sr-small.",
    prior="small",
    system=_small_system,
    plan=replace(PLAN, times=spaced(50), fidelity=1.0),
    color_fix="wavelet",
    canvas=SMALL_CANVAS,
    stages=(
        replace(
            _MODULATION,
            system=partial(_small_system, learns="modulation"),
            objective=NoiseMatching(prompt="clean", in_pixels=True),
            optimizer=OptimizerSettings(learning_rate=5e-4, warmup_steps=100, decay_from=0.6),
            steps=20_000,
            batch=16,
            accumulate=1,
            crop_px=128,
            degradation="photo",
            ema_decay=0.99,
        ),
        replace(
            _FUSION,
            system=partial(_small_system, learns="fusion"),
            objective=Fusion(
                sampling_steps=50,
                uses=4,
                lpips=0.02,
                critic=0.003,
                terms=(
                    Term(name="unevenness", weight=1.0, function=unevenness(8)),
                    Term(name="lattice", weight=4.0, function=lattice(8)),
                ),
                corrected=True,
            ),
            optimizer=OptimizerSettings(learning_rate=1e-3, betas=(0.5, 0.99), warmup_steps=50, decay_from=0.6),
            steps=20_000,
            batch=8,
            accumulate=1,
            crop_px=128,
            degradation="photo",
            critic=partial(patch_judge, widths=(16, 48, 96, 128)),
            critic_optimizer=OptimizerSettings(learning_rate=3e-4, betas=(0.5, 0.99), warmup_steps=20, decay_from=0.6),
            ema_decay=0.99,
        ),
    ),
)
"""It learns and restores under the prompt "clean", the only one of the embedded prior's that means restored photos.

Deviation: pictures of the second stage are compared in the LQ photo's colors, and two terms stand against grids.
"""


def timeless(recipe: Recipe) -> Recipe:
    """The recipe with an encoder that is not told the time, which the paper compares its own with."""
    assert isinstance(recipe.system, partial), "the system says its network"
    network: Network = recipe.system.keywords["network"]
    blind = replace(network, encoder=replace(network.encoder, time_aware=False))
    stages = tuple(replace(stage, system=partial(stage.system, network=blind)) for stage in recipe.stages)
    return replace(recipe, system=partial(recipe.system, network=blind), stages=stages)


ABLATIONS = {
    "stablesr-time": {
        "without time": Variant(recipe=timeless(STABLESR_SMALL), stage="modulation"),
        "time-aware": Variant(recipe=STABLESR_SMALL, stage="modulation"),
    },
}
"""What the encoder's knowledge of the time is worth, on the small prior."""
