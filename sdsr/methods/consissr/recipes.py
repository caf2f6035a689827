"""ConsisSR: a ControlNet on the LQ latent, the Hybrid Prompt Adapter, and Time-Aware Latent Augmentation.

arXiv:2410.13807. The UNet is told a prompt, one token of the photo (CLIP's embedding of the LQ photo by RCLIP, an image
encoder fine-tuned to see through degradation) and what a ControlNet makes of the LQ latent. Two stages train it: RCLIP
alone, then everything else by noise matching whose noisy latents begin at the LQ latent, the more often the later the
time (TALA).

Two readings are values of one `Network`: `PAPER`, and `PUBLISHED`, which the authors' checkpoint fits.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import nn

from sdsr.adapters.control import latent_control, residuals
from sdsr.adapters.hybrid_attention import HybridAttention, HybridSettings
from sdsr.adapters.image_prompt import ImagePrompt
from sdsr.data.prompts import prompts_of
from sdsr.diffusion.steps import ancestral
from sdsr.diffusion.times import spaced
from sdsr.images.kernels import PILLOW_BICUBIC, PILLOW_LANCZOS
from sdsr.methods.consissr.rclip import Embedding, EncoderPair, module_of
from sdsr.methods.fidelity import by_guidance
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.methods.small_canvas import SMALL_CANVAS
from sdsr.methods.tags import attach_tags
from sdsr.methods.variant import Variant
from sdsr.objectives.noise_matching import NoiseMatching
from sdsr.objectives.sources import Source, TimeAware, plain
from sdsr.prior.evidence import Evidence, Testimony
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import ImageEncoder, Prior
from sdsr.prior.shapes import blank_image_encoder
from sdsr.prior.sources import resolve
from sdsr.prior.stable_diffusion import load_image_encoder
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Parts, Restorer, Witness, from_noise
from sdsr.tensors import Image, Latent, PhotoTokens, Time

GUIDANCE = 5.0
FIXED = ("transformer_blocks.0.attn2.", "transformer_blocks.0.norm2.")
"""What of the ControlNet does not learn: attention to prompts, and the norm before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What of ConsisSR's network there is, and what of it learns.

    `tokens` says what of the photo is told besides: its embedding as one token, SeeSR's soft tags, or nothing.
    `zero_last`: whether the layers that make the token end in zeros too; with the zero-initialised linear of `hybrid`
    behind it, neither ever learns. `hint_widths` are those of the ControlNet's layers on the LQ latent; `frozen` are
    parts of the names of its parameters that stay the prior's; `begin` is what its own additions begin at, as a share
    of their usual initialisation. Its outputs begin at zero: zeros before them would learn nothing for a step or two.
    """

    hybrid: HybridSettings = field(default_factory=HybridSettings)
    tokens: Literal["embedding", "tags", "none"] = "embedding"
    zero_last: bool = False
    hint_widths: tuple[int, ...] = (16, 32, 96, 256)
    frozen: tuple[str, ...] = FIXED
    begin: float | int = 0.1


PAPER = Network()
"""As the paper says: image keys and values by the prior's own layers, one zero-initialised linear."""

PUBLISHED = Network(hybrid=HybridSettings(image="separate"), zero_last=True, begin=0.0)
"""As the authors' checkpoint holds it: image keys and values by layers of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoConditioner:
    """Tells the UNet the prompt, tokens of the photo, and what the ControlNet sees in the LQ latent.

    The tokens are those of the part of the photo which is restored; the latent is to be the mode.
    """

    controlnet: ControlNetModel
    tokens_of: Callable[[Image], PhotoTokens] | None = None

    def __call__(self, prior: Prior, photograph: Photograph, latent: Latent) -> Witness:
        image, hint = photograph.enlarged().to(prior.device), latent
        tokens = None
        if self.tokens_of is not None:
            with prior.precision():
                tokens = self.tokens_of(image)

        def testify(prompt: str) -> Testimony:
            told = Evidence(prompt=prior.embed(prompt), tokens=tokens)

            def controlled(noisy: Latent, t: int | Time) -> Evidence:
                with prior.precision():
                    return replace(told, residuals=residuals(self.controlnet, noisy, t, told, hint))

            return controlled

        return testify


@dataclass(frozen=True, slots=True)
class PhotoToken:
    """One token of a photo, squashed to the image encoder's size: its embedding, made fit for the UNet's attention."""

    encoder: ImageEncoder
    prompt: ImagePrompt

    def __call__(self, image: Image) -> PhotoTokens:
        with torch.no_grad():
            embedding = self.encoder(image)
        return self.prompt(embedding)


def system(
    prior: str | Prior,
    device: torch.device | str | None = None,
    *,
    network: Network = PAPER,
    training: bool = False,
) -> Restorer:
    """The restorer on any prior; its parts learn but for what the paper keeps fixed.

    Where the prior has no image encoder, training begins with OpenCLIP's, and otherwise the method's own weights are
    waited for.
    """
    prior = load_prior(prior, device=device)
    hybrid = HybridAttention(prior.unet, network.hybrid)
    controlnet = latent_control(prior.unet, widths=network.hint_widths, begin=network.begin)
    for name, parameter in controlnet.named_parameters():
        parameter.requires_grad_(not any(part in name for part in network.frozen))
    control_hybrid = HybridAttention(controlnet, replace(network.hybrid, begin=network.begin))
    modules = nn.ModuleDict({"controlnet": controlnet, "control_hybrid": control_hybrid, "hybrid": hybrid})
    conditioner = PhotoConditioner(controlnet=controlnet)
    if network.tokens == "tags":
        tagger, tagged = attach_tags(prior, controlnet, head_width=None, begin=network.begin, training=training)
        modules.update(tagged)
        conditioner = replace(conditioner, tokens_of=tagger)
    elif network.tokens == "embedding":
        encoder = photo_encoder(prior, training=training)
        image_prompt = ImagePrompt(encoder.width, prior.unet.config["cross_attention_dim"], zero=network.zero_last)
        modules["image_prompt"] = image_prompt.to(prior.device)
        modules["image_encoder"] = module_of(encoder).requires_grad_(False)
        conditioner = replace(conditioner, tokens_of=PhotoToken(encoder, image_prompt))
    hybrid.attach(prior.unet)
    control_hybrid.attach(controlnet)
    said = prompts_of("consissr", prior.text.vocabulary)
    return Restorer(
        prior=prior,
        parts=Parts(
            conditioner=conditioner,
            start=from_noise,
            modules=modules,
            prompt=said.positive,
            negative_prompt=said.negative,
            on_mode=True,
        ),
    )


def photo_encoder(prior: Prior, *, training: bool) -> ImageEncoder:
    """A copy of the prior's image encoder, or of OpenCLIP's ViT-H/14; on "meta", for weights to come, if not to train.

    Raises ModelError where training needs OpenCLIP's weights and they are not here.
    """
    if prior.image is not None:
        return EncoderPair.of(prior).student
    if not training:
        return blank_image_encoder()
    clip = load_image_encoder(resolve("clip-vit-h"))
    nn.Module.to(clip.model, prior.device)
    return clip


def encoders(prior: str | Prior, device: torch.device | str | None = None) -> EncoderPair:
    """What the first stage trains: a copy of the prior's image encoder, or of OpenCLIP's, taught by the original."""
    prior = load_prior(prior, device=device)
    return EncoderPair.of(prior if prior.image else replace(prior, image=photo_encoder(prior, training=True)))


NATIVE_PX = 512
CANVAS = Canvas(
    kernel=PILLOW_BICUBIC,
    native_px=NATIVE_PX,
    small="enlarged twice",
    shrink=PILLOW_LANCZOS,
    round_up=True,
    window_px=NATIVE_PX,
    overlap_px=NATIVE_PX // 2,
)
"""As published. Its network takes squares of 512 px only, as many as there are rows in its positional tables; so do we.

Deviation: canvases are filled up to multiples by mirroring, not with black, which AdaIN would measure as well.
"""

PLAN = Plan(times=spaced(50), step=ancestral, guidance=GUIDANCE)

_RCLIP = Stage(
    name="rclip",
    system=encoders,
    objective=Embedding(),
    optimizer=OptimizerSettings(learning_rate=1e-5, warmup_steps=0, decay_from=1.0, clip_norm=math.inf),
    steps=100_000,
    batch=16,
    crop_px=224,
    flips=(0.5, 0.5),
    degradation="consissr_train_C_224",
    ema_decay=0.0,
)
_RESTORATION = Stage(
    name="restoration",
    system=partial(system, training=True),
    objective=NoiseMatching(source=TimeAware(gamma=10.0), guidance=GUIDANCE),
    optimizer=OptimizerSettings(learning_rate=5e-5, warmup_steps=0, decay_from=1.0, clip_norm=math.inf),
    steps=200_000,
    batch=8,
    crop_px=512,
    flips=(0.5, 0.5),
    degradation="consissr",
    ema_decay=0.0,
    follows="stage rclip",
)

CONSISSR = Recipe(
    name="consissr",
    paper="arXiv:2410.13807",
    summary="ControlNet, Hybrid Prompt Adapter and TALA on Stable Diffusion 2.1; 50 guided steps.",
    prior="sd-2.1-base",
    system=system,
    plan=PLAN,
    color_fix="adain",
    listens=True,
    times_for=spaced,
    at_fidelity=by_guidance,
    canvas=CANVAS,
    stages=(_RCLIP, _RESTORATION),
)
"""As the paper trains it: Adam, constant learning rates, batches of 16 and 8, no averaging of weights."""


SMALL_NETWORK = Network(
    hybrid=HybridSettings(side_cells=16),
    hint_widths=(32, 64),
    frozen=(*FIXED, "time_embedding."),
)
_small_system = partial(system, network=SMALL_NETWORK)
SMALL_STEPS, SMALL_GUIDANCE = 10, 1.2

CONSISSR_SMALL = Recipe(
    name="consissr-small",
    paper="arXiv:2410.13807",
    summary="ConsisSR on the embedded prior; 10 guided steps, slower than d3sr-small.",
    prior="small",
    system=_small_system,
    plan=replace(PLAN, times=spaced(SMALL_STEPS), guidance=SMALL_GUIDANCE),
    listens=True,
    times_for=spaced,
    at_fidelity=by_guidance,
    canvas=SMALL_CANVAS,
    stages=(
        replace(
            _RCLIP,
            optimizer=OptimizerSettings(learning_rate=3e-4, warmup_steps=50, decay_from=0.5),
            steps=20_000,
            batch=32,
            crop_px=128,
            degradation="photo",
            ema_decay=0.99,
        ),
        replace(
            _RESTORATION,
            system=partial(_small_system, training=True),
            objective=NoiseMatching(source=TimeAware(gamma=10.0), in_pixels=True, guidance=SMALL_GUIDANCE),
            optimizer=OptimizerSettings(learning_rate=5e-4, warmup_steps=100, decay_from=0.6),
            steps=20_000,
            batch=16,
            crop_px=128,
            degradation="photo",
            ema_decay=0.99,
        ),
    ),
)
"""On the embedded prior: crops of 128 px, so the positional tables are made for 16 x 16 cells.

Few steps and little guidance: on degraded validation photos, more of either ranked lower with the embedded weights.
"""

CONSISSR_PUBLISHED = replace(
    CONSISSR,
    name="consissr-published",
    summary="The network that the authors' checkpoint fits, for `sdsr convert consissr`.",
    system=partial(system, network=PUBLISHED),
    stages=(),
)


def _on(network: Network) -> Recipe:
    """The small recipe with another network; what is told no image embedding follows no stage."""
    rclip, restoration = CONSISSR_SMALL.stages
    restoration = replace(
        restoration,
        system=partial(system, network=network, training=True),
        follows=restoration.follows if network.tokens == "embedding" else None,
    )
    return replace(CONSISSR_SMALL, system=partial(system, network=network), stages=(rclip, restoration))


def _with_image(**changes: Any) -> Variant:
    """A variant of the small recipe whose image branch is another."""
    hybrid = replace(SMALL_NETWORK.hybrid, **changes)
    network = replace(SMALL_NETWORK, hybrid=hybrid, tokens="none" if hybrid.image == "none" else "embedding")
    return Variant(recipe=_on(network), stage="restoration")


def _tagged() -> Variant:
    """A variant of the small recipe that is told SeeSR's tags, through SeeSR's attention, instead of a token."""
    hybrid = replace(SMALL_NETWORK.hybrid, image="none")
    return Variant(recipe=_on(replace(SMALL_NETWORK, hybrid=hybrid, tokens="tags")), stage="restoration")


def _with_source(source: Source) -> Variant:
    """A variant of the small recipe that noises something else."""
    return Variant(recipe=CONSISSR_SMALL, stage="restoration", changes={"objective.source": source})


ABLATIONS = {
    "consissr-prompts": {
        "fixed text": _with_image(image="none"),
        "DAPE": _tagged(),
        "IP-Adapter": _with_image(image="separate", zero_linear=False, train_projections=True),
        "HPA, separate projections": _with_image(image="separate", train_projections=True),
        "HPA": Variant(recipe=CONSISSR_SMALL, stage="restoration"),
    },
    "consissr-tala": {
        "DDPM": _with_source(plain),
        "linear": _with_source(TimeAware(shape="linear")),
        "gamma 5": _with_source(TimeAware(gamma=5)),
        "gamma 10": Variant(recipe=CONSISSR_SMALL, stage="restoration"),
        "gamma 20": _with_source(TimeAware(gamma=20)),
    },
}
"""Tables 3 and 4 of the paper, on the small prior. DAPE is SeeSR's tagger, here its stand-in."""
