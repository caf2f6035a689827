"""StableSR's recipes: two stages, one prior for 768 px and one of few steps, the small one, and its table.

arXiv:2305.07015. The numbers are those of the published configurations; what was not published is said beside it.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

from sdsr.diffusion.times import spaced
from sdsr.discriminators.patch import PatchDiscriminator
from sdsr.images.color import SIGNED_VARIANCE_FLOOR
from sdsr.images.kernels import TORCH_BICUBIC
from sdsr.losses.adversarial import HINGE
from sdsr.losses.terms import Term, lattice, unevenness
from sdsr.methods.decoder_stages import SMALL_FIDELITY, tuning_stage
from sdsr.methods.guided_decoding import DecoderSettings
from sdsr.methods.learning import Learns
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.methods.small_canvas import SMALL_CANVAS
from sdsr.methods.small_stages import DISCRIMINATOR_OPTIMIZER
from sdsr.methods.stablesr import FACTS
from sdsr.methods.stablesr.encoder import EncoderSettings
from sdsr.methods.stablesr.fusion import Fusion
from sdsr.methods.stablesr.method import ENCODER, MODULATION, PLAN, WRAPPING, StableSR
from sdsr.methods.variant import Variant
from sdsr.objectives.discriminator import Discriminator, Pixels
from sdsr.objectives.noise_matching import NoiseMatching
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.restorer import Restorer


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """That of the second stage. Deviation: spectral norms and three scales, where PatchGAN has batch norms."""

    widths: tuple[int, ...] = (64, 128, 256, 512)

    def __call__(self, restorer: Restorer) -> Discriminator:
        return Discriminator(PatchDiscriminator(self.widths), Pixels(), HINGE)


CANVAS = Canvas(
    kernel=TORCH_BICUBIC, multiple_px=32, native_px=512, shrink=TORCH_BICUBIC, window_px=512, overlap_px=256
)
CANVAS_768 = replace(CANVAS, native_px=768, window_px=768, overlap_px=384)
"""As published: at least the prior's own size, mirrored below and to the right to multiples of 32, in windows of it."""

_CONSTANT = OptimizerSettings(
    learning_rate=5e-5, betas=(0.9, 0.999), weight_decay=0.01, warmup_steps=0, decay_from=1.0, clip_norm=math.inf
)
FROM_PHOTO = StableSR(start="noised photo")
_MODULATION = Stage(
    name="modulation",
    method=StableSR(),
    objective=NoiseMatching(),
    optimizer=_CONSTANT,
    steps=16_500,
    batch=6,
    accumulate=4,
    crop_px=512,
    learns=Learns(parts=(ENCODER, MODULATION)),
    degradation="stablesr",
    ema_decay=0.0,
)
"""As published, on 8 GPUs: 6 x 4 x 8 = 192 photos a step. That there were 8 is inferred, from the steps and epochs."""

_ADAM = replace(_CONSTANT, betas=(0.5, 0.9), weight_decay=0.0)
_FUSION = Stage(
    name="fusion",
    method=FROM_PHOTO,
    objective=Fusion(),
    optimizer=_ADAM,
    steps=17_000,
    batch=1,
    accumulate=8,
    crop_px=512,
    learns=Learns(parts=(WRAPPING,)),
    degradation="stablesr",
    discriminator=Patches(),
    discriminator_optimizer=_ADAM,
    ema_decay=0.0,
    init_from="stage modulation",
)
"""As published; the discriminator is heard from step 501. Steps are ours: 11 epochs of 100,000 photos on 8 GPUs."""

STABLESR = Recipe(
    facts=FACTS["stablesr"],
    method=StableSR(),
    color_fix="adain",
    adain_floor=SIGNED_VARIANCE_FLOOR,
    most_steps=1000,
    canvas=CANVAS,
    stages=(_MODULATION, _FUSION),
)
"""As the paper restores 128 px photos: from pure noise. The published programs for any size begin as the others do."""

STABLESR_768V = replace(
    STABLESR,
    facts=FACTS["stablesr-768v"],
    method=FROM_PHOTO,
    canvas=CANVAS_768,
    stages=(replace(_MODULATION, steps=40_000, batch=3, crop_px=768, degradation="stablesr_768v"),),
)
"""Published without a fusion of its own: that of 512 px is used. Steps are ours, about the 139 epochs published."""

STABLESR_TURBO = replace(
    STABLESR,
    facts=FACTS["stablesr-turbo"],
    method=replace(FROM_PHOTO, own_plan=replace(PLAN, times=spaced(4))),
    color_fix="wavelet",
    stages=(),
)
"""Nothing is trained for it: the authors put the parts that were trained on SD 2.1 beside SD-Turbo's UNet."""

SMALL_METHOD = StableSR(
    encoder=EncoderSettings(widths=(96, 128), blocks=1, attention_at=(2,), map_channels=64),
    hidden=32,
    blocks=1,
    growth=8,
    start="noised photo",
    own_plan=replace(PLAN, times=spaced(50), fidelity=1.0),
)
"""4,669,600 parameters on the embedded prior, with the paper's own decoder."""

SMALL_PLAN = replace(PLAN, times=spaced(10), fidelity=SMALL_FIDELITY)
SMALL_DECODED = replace(SMALL_METHOD, decoder=DecoderSettings(), own_plan=SMALL_PLAN)

STABLESR_SMALL = replace(
    STABLESR,
    facts=FACTS["stablesr-small"],
    method=SMALL_DECODED,
    color_fix="none",
    canvas=replace(SMALL_CANVAS, context_px=288),  # the wrapped decoder looks 204 px further
    stages=(
        replace(
            _MODULATION,
            method=SMALL_METHOD,
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
            method=SMALL_METHOD,
            objective=Fusion(
                sampling_steps=50,
                uses=4,
                lpips=0.02,
                adversarial=0.003,
                terms=(
                    Term(name="unevenness", weight=1.0, function=partial(unevenness, 8)),
                    Term(name="lattice", weight=4.0, function=partial(lattice, 8, 4)),
                ),
                corrected=True,
            ),
            optimizer=OptimizerSettings(learning_rate=1e-3, betas=(0.5, 0.99), warmup_steps=50, decay_from=0.6),
            steps=20_000,
            batch=8,
            accumulate=1,
            crop_px=128,
            degradation="photo",
            discriminator=Patches(widths=(16, 48, 96, 128)),
            discriminator_optimizer=DISCRIMINATOR_OPTIMIZER,
            ema_decay=0.99,
        ),
        tuning_stage(SMALL_DECODED, SMALL_PLAN, after="modulation"),
    ),
)
"""It learns and restores under the prompt "clean", the only one of the embedded prior's that means restored photos.

Deviation: pictures of the second stage are compared in the LQ photo's colors, and two terms stand against grids. What
restores is the third stage's, whose decoder takes the second's place.
"""


RECIPES = (STABLESR, STABLESR_768V, STABLESR_TURBO, STABLESR_SMALL)

ABLATIONS = {
    "stablesr-time": {
        "without time": Variant(
            recipe=STABLESR_SMALL, stage="modulation", changes={"method.encoder.time_aware": False}
        ),
        "time-aware": Variant(recipe=STABLESR_SMALL, stage="modulation"),
    },
}
"""What the encoder's knowledge of the time is worth, which the paper compares its own without, on the small prior."""
