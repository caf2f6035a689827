"""ConsisSR: a ControlNet on the LQ latent, and the Hybrid Prompt Adapter.

arXiv:2410.13807. The UNet is told a prompt, one token of the photo (CLIP's embedding of the LQ photo by RCLIP, an image
encoder fine-tuned to see through degradation) and what a ControlNet makes of the LQ latent.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import nn

from sdsr.adapters.control import HINT_WIDTHS, latent_control
from sdsr.adapters.hybrid_attention import HybridAttention, HybridSettings
from sdsr.adapters.image_prompt import ImagePrompt
from sdsr.adapters.sharing import share_weights
from sdsr.diffusion.steps import ancestral
from sdsr.diffusion.times import spaced
from sdsr.methods.consissr.rclip import EncoderPair, module_of
from sdsr.methods.guided_decoding import DecoderSettings, decoded
from sdsr.methods.method import Device
from sdsr.methods.photo_conditioner import PhotoConditioner
from sdsr.methods.prompts import Prompts, prompts_of
from sdsr.methods.tags import TAGGER, attach_tags
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import ImageEncoder, Prior
from sdsr.prior.shapes import blank_image_encoder
from sdsr.prior.sources import resolve
from sdsr.prior.stable_diffusion import load_image_encoder
from sdsr.request import Request
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Parts, Restorer, from_noise
from sdsr.restoration.wishing import by_guidance, wished_plan
from sdsr.tensors import Image, PhotoTokens

IMAGE_ENCODER = "image_encoder"
PLAN = Plan(times=spaced(50), step=ancestral, guidance=5.0)
PROMPTS = Prompts(positive="clean, high-resolution, 8k", negative="dotted, noise, blur, lowres, smooth")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsisSR:
    """What of ConsisSR's network there is; as it stands here, what the paper says.

    `tokens` says what of the photo is told besides: its embedding as one token, SeeSR's soft tags, or nothing.
    `zero_last`: whether the layers that make the token end in zeros too; with the zero-initialised linear of `hybrid`
    behind it, neither ever learns. `hint_widths` are those of the ControlNet's layers on the LQ latent; `init_scale` is
    what its own additions begin at, as a share of their usual initialisation. Its outputs begin at zero: zeros before
    them would learn nothing for a step or two. `deferred`: whether what never learns here, and the prior has not, waits
    on "meta" for a folder's weights; if not, the image encoder begins as OpenCLIP's. `decoder`: one that sees the photo
    beside the latent, for small priors; published, the prior decodes.
    """

    hybrid: HybridSettings = field(default_factory=HybridSettings)
    tokens: Literal["embedding", "tags", "none"] = "embedding"
    zero_last: bool = False
    hint_widths: tuple[int, ...] = HINT_WIDTHS
    init_scale: float | int = 0.1
    deferred: bool = True
    decoder: DecoderSettings | None = None
    own_plan: Plan = PLAN

    def plan(self, request: Request, photo: Image | None = None) -> Plan:
        """Return the plan: any number of spaced times, and fidelity by guidance."""
        return wished_plan(self.own_plan, request, times=spaced, faithful=by_guidance)

    def build(self, prior: str | Prior, device: Device = None) -> Restorer:
        """Return the restorer on any prior."""
        prior = load_prior(prior, device=device)
        prior = prior.adapted(network=share_weights(prior.unet))
        hybrid = HybridAttention(prior.unet, self.hybrid)
        controlnet = latent_control(prior.unet, widths=self.hint_widths, init_scale=self.init_scale)
        control_hybrid = HybridAttention(controlnet, replace(self.hybrid, init_scale=self.init_scale))
        modules = nn.ModuleDict({"controlnet": controlnet, "control_hybrid": control_hybrid, "hybrid": hybrid})
        conditioner = PhotoConditioner(controlnet=controlnet, hint="latent")
        if self.tokens == "tags":
            tags, tagged = attach_tags(
                prior, controlnet, head_width=None, init_scale=self.init_scale, deferred=self.deferred
            )
            modules.update(tagged)
            conditioner = replace(conditioner, tokens_of=tags)
        elif self.tokens == "embedding":
            encoder = photo_encoder(prior, deferred=self.deferred)
            image_prompt = ImagePrompt(encoder.width, prior.unet.config["cross_attention_dim"], zero=self.zero_last)
            modules["image_prompt"] = image_prompt.to(prior.device)
            modules[IMAGE_ENCODER] = module_of(encoder).requires_grad_(False)
            conditioner = replace(conditioner, tokens_of=PhotoToken(encoder, image_prompt))
        hybrid.attach(prior.unet)
        control_hybrid.attach(controlnet)
        said = prompts_of(PROMPTS, prior.text.vocabulary)
        restorer = Restorer(
            prior=prior,
            parts=Parts(
                conditioner=conditioner,
                start=from_noise,
                modules=modules,
                prompt=said.positive,
                negative_prompt=said.negative,
                on_mode=True,
                pass_share=1.5,
                used_with={name: name for name in (IMAGE_ENCODER, TAGGER)},
            ),
        )
        return decoded(restorer, self.decoder)


@dataclass(frozen=True, slots=True)
class PhotoToken:
    """One token of a photo, squashed to the image encoder's size: its embedding, made fit for the UNet's attention."""

    encoder: ImageEncoder
    prompt: ImagePrompt

    def __call__(self, image: Image) -> PhotoTokens:
        with torch.no_grad():
            embedding = self.encoder(image)
        return self.prompt(embedding)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoEncoders:
    """What the first stage trains: a copy of the prior's image encoder, or of OpenCLIP's, taught by the original."""

    def build(self, prior: str | Prior, device: Device = None) -> EncoderPair:
        """Return the pair; raise ModelError where OpenCLIP's weights are needed and are not here."""
        prior = load_prior(prior, device=device)
        return EncoderPair.of(prior if prior.image else replace(prior, image=photo_encoder(prior, deferred=False)))


def photo_encoder(prior: Prior, *, deferred: bool) -> ImageEncoder:
    """A copy of the prior's image encoder, or else OpenCLIP's ViT-H/14, whose weights may be `deferred`.

    Raises ModelError where OpenCLIP's weights are needed and are not here.
    """
    if prior.image is not None:
        return EncoderPair.of(prior).student
    if deferred:
        return blank_image_encoder()
    clip = load_image_encoder(resolve("clip-vit-h"))
    nn.Module.to(clip.model, prior.device)
    return clip
