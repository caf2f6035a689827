"""InvSR's recipes: the published training, the small one, and the paper's table of terms.

arXiv:2412.09013 (CVPR 2025).
"""

import math
from dataclasses import dataclass, replace

from sdsr.discriminators.patch import PatchDiscriminator
from sdsr.images.kernels import TORCH_BICUBIC
from sdsr.losses.adversarial import BCE, HINGE
from sdsr.methods.decoder_stages import SMALL_FIDELITY, tuning_stage
from sdsr.methods.guided_decoding import DecoderSettings
from sdsr.methods.invsr import FACTS
from sdsr.methods.invsr.discriminator import FAKE_LIMIT, LatentUnetDiscriminator
from sdsr.methods.invsr.latent_perceptual import LATENT_PERCEPTUAL, SMALL_LATENT_PERCEPTUAL
from sdsr.methods.invsr.method import InvSR, PredictorSettings
from sdsr.methods.invsr.times import PLAN, PUBLISHED, TRAINED_STARTS
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.methods.small_canvas import SMALL_CANVAS
from sdsr.methods.small_stages import small_stages
from sdsr.methods.variant import Variant
from sdsr.objectives.discriminator import CleanLatents, Discriminator, Discriminators, Pixels
from sdsr.objectives.restoration import Restoration
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.restorer import Restorer

STARTS = tuple(start - 1 for start in TRAINED_STARTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentDiscriminator:
    """A discriminator of latents, told the prompt, that begins at random; the defaults are the published size.

    `of_pixels`: whether a light discriminator of the pixels' detail judges as well.
    """

    widths: tuple[int, int, int] = (128, 256, 512)
    attention_heads: tuple[int, int, int] = (8, 16, 16)
    norm_groups: int = 32
    pooling_heads: int = 64
    of_pixels: bool = False

    def __call__(self, restorer: Restorer) -> Discriminators:
        context = restorer.prior.embed(restorer.parts.prompt or "").detach()
        network = LatentUnetDiscriminator(
            widths=self.widths,
            attention_heads=self.attention_heads,
            context_width=context.shape[-1],
            norm_groups=self.norm_groups,
            pooling_heads=self.pooling_heads,
            latent_channels=restorer.channels,
        )
        of_latents = Discriminator(network, CleanLatents(context, FAKE_LIMIT), HINGE)
        if not self.of_pixels:
            return Discriminators(of_latents)
        return Discriminators(of_latents, Discriminator(PatchDiscriminator(sees="image"), Pixels(), BCE))


_INVERSION = Stage(
    name="inversion",
    method=InvSR(),
    objective=Restoration(
        plan=PLAN,
        starts=STARTS,
        latent_lpips=2.0,
        adversarial_from=0.1,
        adversarial_latent=0.1,
        adversarial_image=0.0,
    ),
    optimizer=OptimizerSettings(
        learning_rate=5e-5, betas=(0.9, 0.999), warmup_steps=2_000, decay_from=1.0, clip_norm=math.inf
    ),
    discriminator=LatentDiscriminator(),
    discriminator_optimizer=OptimizerSettings(
        learning_rate=5e-5, betas=(0.9, 0.999), weight_decay=1e-3, warmup_steps=0, decay_from=1.0, clip_norm=math.inf
    ),
    steps=100_000,
    batch=16,
    crop_px=512,
    degradation="invsr",
    ema_decay=0.999,
)
"""As published, on 4 GPUs: 64 photos a step. InvSR's latent LPIPS wants its file in `objective.latent_lpips_weights`.

Deviation: the discriminator's weight decay is decoupled from its gradients, as AdamW's is; published, it has Adam's.
"""

CANVAS = Canvas(kernel=TORCH_BICUBIC, clamped=False, native_px=512, small="mirrored", window_px=512, overlap_px=256)
"""As published: photos below 128 px are mirrored up to it all around, others up to multiples of 16 px, and enlarged.

In windows of 512 px the predictor attends to 16,384 tokens; in larger ones, its work outgrows all the rest.
"""

INVSR = Recipe(
    facts=FACTS["invsr"],
    method=InvSR(),
    listens=True,
    most_steps=max(PUBLISHED),
    starts=TRAINED_STARTS,
    canvas=CANVAS,
    stages=(_INVERSION,),
)

SMALL_METHOD = InvSR(predictor=PredictorSettings(widths=(96, 192), attention=(False, False, False)))
"""4.2 million parameters. Deviation: without attention, which for 1024 px would multiply its operations."""

SMALL_PLAN = replace(PLAN, fidelity=SMALL_FIDELITY)
SMALL_DECODED = replace(SMALL_METHOD, decoder=DecoderSettings(), own_plan=SMALL_PLAN)

SMALL_DISCRIMINATOR = LatentDiscriminator(
    widths=(48, 64, 96), attention_heads=(4, 4, 4), norm_groups=16, pooling_heads=8, of_pixels=True
)
"""The published discriminator at a fraction of its size, and one of pixels."""

INVSR_SMALL = replace(
    INVSR,
    facts=FACTS["invsr-small"],
    method=SMALL_DECODED,
    listens=False,
    canvas=SMALL_CANVAS,
    color_fix="none",
    stages=(
        *small_stages(
            SMALL_METHOD,
            SMALL_DISCRIMINATOR,
            Restoration(plan=PLAN, starts=STARTS),
            first="inversion",
            latent_lpips=0.1,
        ),
        tuning_stage(SMALL_DECODED, SMALL_PLAN, after="realism"),
    ),
)
"""Deviation: with a decoder this light, pixels count, and a discriminator of them; the stages are D3SR's small ones."""


def _varied(**changes: object) -> Variant:
    """A variant of the small recipe's second stage."""
    return Variant(
        recipe=INVSR_SMALL, stage="realism", changes={f"objective.{name}": value for name, value in changes.items()}
    )


RECIPES = (INVSR, INVSR_SMALL, SMALL_LATENT_PERCEPTUAL, LATENT_PERCEPTUAL)

ABLATIONS = {
    "invsr-prompt": {
        "fixed prompt": Variant(recipe=INVSR_SMALL, stage="inversion"),
        "and a token of the photo": Variant(
            recipe=INVSR_SMALL, stage="inversion", changes={"method.photo_token": True}
        ),
    },
    "invsr-terms": {
        "L2": _varied(latent_lpips=0.0, ea_dists=0.0, adversarial_latent=0.0, adversarial_image=0.0),
        "L2 and latent LPIPS": _varied(ea_dists=0.0, adversarial_latent=0.0, adversarial_image=0.0),
        "L2 and discriminators": _varied(latent_lpips=0.0, ea_dists=0.0),
        "all": _varied(),
    },
}
"""What semantic prompts add, which the authors did not try, and the paper's table of terms, on the small prior."""
