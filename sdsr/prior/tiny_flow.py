"""A random flow-matching prior for tests: a transformer of two blocks, an autoencoder of 16 channels, stored prompts.

All of it is random, so what it restores means nothing.
"""

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from torch import nn

from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.prior.flow import flow_prior
from sdsr.prior.flow_text import StoredPrompts
from sdsr.prior.network_config import NetworkConfig
from sdsr.prior.prior import Prior
from sdsr.prior.weight_files import module_sha256

NATIVE_CELLS = 24
MOST_CELLS = 32
PROMPTS = ("", "clean", "degraded")
SHIFT = 3.0
_LEVELS = 4
_PROMPT_TOKENS = 3


def tiny_vae() -> AutoencoderKL:
    """Return a random autoencoder shaped like Stable Diffusion 3's, in narrow."""
    blocks: NetworkConfig = {  # diffusers annotates tuples of one
        "block_out_channels": (8,) * _LEVELS,
        "down_block_types": ("DownEncoderBlock2D",) * _LEVELS,
        "up_block_types": ("UpDecoderBlock2D",) * _LEVELS,
    }
    return AutoencoderKL(
        **blocks,
        norm_num_groups=4,
        latent_channels=16,
        scaling_factor=1.5305,
        shift_factor=0.0609,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def tiny_transformer() -> SD3Transformer2DModel:
    """Return a random transformer shaped like Stable Diffusion 3's, in narrow and short."""
    return SD3Transformer2DModel(
        sample_size=NATIVE_CELLS,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=16,
        pos_embed_max_size=MOST_CELLS // 2,  # a place is a patch of two cells
    )


def tiny_flow_prior(seed: int = 0, dtype: torch.dtype = torch.float32) -> Prior:
    """Return the random prior that `seed` gives; the same one each time, and no other random state is touched.

    >>> prior = tiny_flow_prior()
    >>> prior.encode(torch.rand(1, 3, 64, 48)).shape
    torch.Size([1, 16, 8, 6])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = tiny_vae()
        transformer = tiny_transformer()
        text = StoredPrompts(PROMPTS, torch.randn(len(PROMPTS), _PROMPT_TOKENS + 1, 32))
    for network in (vae, transformer):
        network.eval().requires_grad_(False)
    return flow_prior(
        name="tiny-flow",
        sha256=module_sha256(nn.ModuleDict({"autoencoder": vae, "transformer": transformer, "prompts": text})),
        vae=vae,
        transformer=transformer,
        text=text,
        encoders={"prompts": text},
        schedule=NoiseSchedule.flow(SHIFT),
        dtype=dtype,
    )
