"""The peer on a card: one step from the LQ latent by diffusers' own networks, eager, as its documentation runs them."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import init_empty_weights
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from bench.random_weights import randomize
from sdsr.prior.shapes import AUTOENCODER, UNET

TIME = 399
TOKENS = 77
SIGNAL = 0.66
"""Of a latent at about that time: what it is does not change what the arithmetic takes."""

SMALL_AUTOENCODER = {"block_out_channels": (64, 64, 64, 64), "layers_per_block": 1}
SMALL_UNET = {
    "block_out_channels": (64, 64, 64, 64),
    "attention_head_dim": 2,
    "cross_attention_dim": 32,
    "layers_per_block": 1,
}


def stock_step(
    lq: Tensor, scale: int, *, dtype: torch.dtype, channels_last: bool = False, rehearse: bool = False
) -> dict[str, Callable[[], Any]]:
    """Return a photo's whole way and its parts by stock networks of SD 2's shape, random weights in `dtype`.

    Much smaller ones to `rehearse`.
    """
    device = lq.device
    with init_empty_weights():
        vae: Any = AutoencoderKL(**{**AUTOENCODER, **(SMALL_AUTOENCODER if rehearse else {})})
        unet: Any = UNet2DConditionModel(**{**UNET, **(SMALL_UNET if rehearse else {})})
    networks = nn.ModuleList([vae, unet]).eval().requires_grad_(False).to(dtype)
    randomize(networks, device, torch.Generator(device).manual_seed(0))
    networks.to(device)
    if channels_last:
        networks.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (missing in torch's stub)
    told = torch.randn(1, TOKENS, unet.config["cross_attention_dim"], dtype=dtype, device=device)
    time = torch.tensor(TIME, device=device)
    factor = vae.config["scaling_factor"]
    sigma = (1 - SIGNAL**2) ** 0.5

    def encode() -> Tensor:
        enlarged = F.interpolate(lq, scale_factor=scale, mode="bicubic", antialias=False).clamp(0, 1)
        return vae.encode(2 * enlarged.to(dtype) - 1).latent_dist.mode() * factor

    def step(latent: Tensor) -> Tensor:
        noise = unet(latent, time, encoder_hidden_states=told, return_dict=False)[0]
        return (latent - sigma * noise) / SIGNAL

    def decode(latent: Tensor) -> Tensor:
        return ((vae.decode(latent / factor, return_dict=False)[0] + 1) / 2).clamp(0, 1)

    latent = encode()
    return {
        "whole": lambda: decode(step(encode())),
        "encode": encode,
        "denoise": lambda: step(latent),
        "decode": lambda: decode(latent),
    }
