"""Stable Diffusion 3 without its weights, on "meta", to count it."""

import hashlib

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.errors import InputError
from sdsr.prior.flow import flow_prior
from sdsr.prior.flow_text import StoredPrompts
from sdsr.prior.network_config import NetworkConfig
from sdsr.prior.prior import Prior

AUTOENCODER: NetworkConfig = {
    "sample_size": 1024,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 16,
    "scaling_factor": 1.5305,
    "shift_factor": 0.0609,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}

_TRANSFORMER: NetworkConfig = {
    "sample_size": 128,
    "num_layers": 24,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 192,
}

TRANSFORMERS: dict[str, NetworkConfig] = {
    "sd-3-medium": _TRANSFORMER,
    "sd-3.5-medium": {
        **_TRANSFORMER,
        "pos_embed_max_size": 384,
        "qk_norm": "rms_norm",
        "dual_attention_layers": tuple(range(13)),
    },
}
"""arXiv:2403.03206, and what their published configurations say."""

FLOW_SHAPES = tuple(TRANSFORMERS)
SHIFT = 3.0
TOKENS = 77 + 256


def flow_shape_prior(name: str = "sd-3-medium") -> Prior:
    """Return a prior of that architecture on "meta", frozen, that knows the empty prompt; raise InputError."""
    if name not in TRANSFORMERS:
        raise InputError(f"shape (={name}) must be one of {', '.join(FLOW_SHAPES)}; choose one of them.")
    with torch.device("meta"):
        vae = AutoencoderKL(**AUTOENCODER)
        transformer = SD3Transformer2DModel(**TRANSFORMERS[name])
        text = StoredPrompts(("",), torch.empty(1, TOKENS + 1, transformer.config["joint_attention_dim"]))
    return flow_prior(
        name=name,
        sha256=hashlib.sha256(f"{name}, without weights".encode()).hexdigest(),
        vae=vae.requires_grad_(False),
        transformer=transformer.requires_grad_(False),
        text=text,
        encoders={"prompts": text},
        schedule=NoiseSchedule.flow(SHIFT),
        dtype=torch.float32,
    )
