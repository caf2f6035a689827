"""The UNet of Stable Diffusion XL without weights, to count what a discriminator made of it holds."""

from accelerate import init_empty_weights
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from sdsr.prior.network_config import NetworkConfig

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


def blank_sdxl_unet() -> UNet2DConditionModel:
    """Return the UNet on "meta": 2,567,463,684 parameters."""
    with init_empty_weights():
        return UNet2DConditionModel(**SDXL_UNET)
