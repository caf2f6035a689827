"""Published architectures without their weights, on "meta", to count them.

transformers is imported by the functions that need it, since that takes seconds.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from accelerate import init_empty_weights
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.errors import InputError
from sdsr.prior.network_config import NetworkConfig
from sdsr.prior.offloading import device_of
from sdsr.prior.prior import Prior
from sdsr.prior.stable_diffusion import ClipImage, PublishedLatents
from sdsr.prior.unet import UNetBackbone
from sdsr.tensors import Tokens

if TYPE_CHECKING:
    from transformers import CLIPTextModel

SHAPES = ("sd-2.1-base", "sd-2-base", "sd-turbo")
"""The names of `sources.SOURCES` that share Stable Diffusion 2's architecture at 512 px and predict noise."""

AUTOENCODER: NetworkConfig = {
    "sample_size": 512,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
}

UNET: NetworkConfig = {
    "sample_size": 64,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
"""Blocks and widths are the class's defaults; `attention_head_dim` is, by an old slip there, the number of heads."""

SDXL_UNET: NetworkConfig = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
"""arXiv:2307.01952; `attention_head_dim` is, by an old slip in diffusers, the number of heads."""

TEXT: NetworkConfig = {
    "vocab_size": 49408,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "max_position_embeddings": 77,
    "hidden_act": "gelu",
}
"""OpenCLIP ViT-H's text tower up to its penultimate layer."""

IMAGE: NetworkConfig = {
    "image_size": 224,
    "patch_size": 14,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "projection_dim": 1024,
    "hidden_act": "gelu",
}
"""OpenCLIP ViT-H/14's image tower."""


@dataclass(frozen=True, slots=True)
class CharacterText:
    """Prompts to tokens by a text tower that is told characters instead of words: random weights know neither."""

    model: "CLIPTextModel"
    vocabulary = None

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        length = self.model.config.max_position_embeddings
        characters = [prompt.encode()[:length].ljust(length, b"\0") for prompt in prompts]
        ids = torch.tensor([list(line) for line in characters], device=device_of(self.model))
        return self.model(ids).last_hidden_state


def shape_prior(name: str = "sd-2.1-base", *, image_encoder: bool = True) -> Prior:
    """Return a prior of that architecture on "meta", frozen; with `image_encoder`, also OpenCLIP's ViT-H/14.

    There is no tokenizer: prompts are read by character. Raises InputError for names that are not in `SHAPES`.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    if name not in SHAPES:
        raise InputError(f"shape (={name}) must be one of {', '.join(SHAPES)}; choose one of them.")
    with init_empty_weights():
        vae = AutoencoderKL(**AUTOENCODER)
        unet = UNet2DConditionModel(**UNET)
        text = CLIPTextModel(CLIPTextConfig(**TEXT))
    networks = nn.ModuleDict({"autoencoder": vae, "unet": unet, "text_encoder": text})
    image = blank_image_encoder() if image_encoder else None
    if image is not None:
        networks["image_encoder"] = image.model
    networks.requires_grad_(False)
    return Prior(
        name=name,
        sha256=hashlib.sha256(f"{name}, without weights".encode()).hexdigest(),
        autoencoder=PublishedLatents(vae),
        backbone=UNetBackbone(unet),
        text=CharacterText(text),
        image=image,
        schedule=NoiseSchedule.scaled_linear(),
        modules=networks.eval(),
        native_px=512,
    )


def blank_image_encoder() -> ClipImage:
    """Return OpenCLIP's ViT-H/14 image tower on "meta", frozen, for weights that are to be put in its place."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    with init_empty_weights():
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(**IMAGE))
    return ClipImage(model.eval().requires_grad_(False))


def blank_sdxl_unet() -> UNet2DConditionModel:
    """Return the UNet of Stable Diffusion XL on "meta", 2,567,463,684 parameters, which discriminators are made of."""
    with init_empty_weights():
        return UNet2DConditionModel(**SDXL_UNET)
