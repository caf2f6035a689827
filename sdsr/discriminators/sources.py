"""The diffusion UNets that discriminators are made of."""

from copy import deepcopy

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from sdsr.errors import InputError
from sdsr.prior.prior import Prior
from sdsr.prior.shapes import blank_sdxl_unet
from sdsr.prior.sources import resolve
from sdsr.prior.stable_diffusion import load_network

PRIOR = "prior"
LATENT_CHANNELS = 4  # Stable Diffusion's, and SDXL's


def discriminator_unet(prior: Prior, source: str) -> UNet2DConditionModel:
    """Return the UNet that a discriminator is made of; on "meta", SDXL's without weights.

    Raises ModelError, and InputError where the prior has other latents than Stable Diffusion's.
    """
    if prior.channels != LATENT_CHANNELS:
        raise InputError(
            f"discriminator (={source}) judges latents of {LATENT_CHANNELS} channels, and those of prior "
            f"(={prior.name}) have {prior.channels}; train without one (--set discriminator=none)."
        )
    if source == PRIOR:
        stock = prior.stock
        assert isinstance(stock, UNet2DConditionModel), "a prior's UNet is diffusers'"
        return deepcopy(stock)
    if prior.device.type == "meta":
        return blank_sdxl_unet()
    return load_network(UNet2DConditionModel, resolve(source), "unet", prior.dtype)
