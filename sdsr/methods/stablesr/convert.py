"""StableSR's published checkpoints (github.com/IceClear/StableSR) as our parts.

`stablesr_000117.ckpt` and its like hold the modulation (`spade` there) inside the UNet, the time-aware encoder, and
frozen copies of the UNet, the autoencoder and the text encoder; files cut down to what was trained hold the first
two only. `vqgan_cfw_00011.ckpt` holds the feature wrapping inside the autoencoder, and what judged it in training.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import log2

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from sdsr.checkpoints.converted import Converted, shapes_of, taken
from sdsr.checkpoints.ldm import SCHEDULE, as_linear, autoencoder_names, unet_names
from sdsr.methods.stablesr.encoder import EncoderSettings, TimeAwareEncoder
from sdsr.methods.stablesr.feature_wrapping import FeatureWrapping
from sdsr.methods.stablesr.modulation import Modulation
from sdsr.prior.network_config import NetworkConfig
from sdsr.prior.shapes import AUTOENCODER, UNET

_UNET = "model.diffusion_model."
_ENCODER = "structcond_stage_model."
_FROZEN = ("first_stage_model.", "cond_stage_model.")
_JUDGES = ("loss.",)
_SCALE_SHIFT = {"norm": "param_free_norm", "shared": "mlp_shared.0", "scale": "mlp_gamma", "shift": "mlp_beta"}
_ATTENTION = {"group_norm": "norm", "to_q": "qkv", "to_k": "qkv", "to_v": "qkv", "to_out.0": "proj_out"}
_FUSION = {"merge": "encode_enc_1", "out": "encode_enc_3"}


def convert(
    state: Mapping[str, Tensor],
    *,
    layout: NetworkConfig = UNET,
    encoder: EncoderSettings | None = None,
    hidden: int = 128,
) -> Converted:
    """Return "modulation", "time_aware_encoder", and "unet" where the file has one.

    `layout` are the arguments of the UNet in diffusers, `encoder` the settings of the time-aware encoder,
    `hidden` the channels inside the modulation.
    """
    encoder = encoder or EncoderSettings()
    with torch.device("meta"):
        unet = UNet2DConditionModel(**layout)
        half = TimeAwareEncoder(unet.config["in_channels"], encoder)
        modulation = Modulation(unet, map_channels=encoder.map_channels, hidden=hidden)
    layers = unet.config["layers_per_block"]
    names = {
        "modulation": {own: _modulation_name(own, layers) for own in modulation.state_dict()},
        "time_aware_encoder": {own: _encoder_name(own, encoder.blocks) for own in half.state_dict()},
        "unet": {own: _UNET + theirs for own, theirs in unet_names(unet.state_dict(), layers=layers).items()},
    }
    shapes = {
        "modulation": shapes_of(modulation),
        "time_aware_encoder": shapes_of(half),
        "unet": shapes_of(unet),
    }
    found = replace(taken(state, names, optional=("unet",), needless=(*_FROZEN, *SCHEDULE)), shapes=shapes)
    sft_features = found.parts["time_aware_encoder"]
    ours = {own: _attention_tensor(own, tensor, heads=encoder.heads) for own, tensor in sft_features.items()}
    return replace(found, parts={**found.parts, "time_aware_encoder": ours})


def convert_cfw(state: Mapping[str, Tensor], *, layout: NetworkConfig = AUTOENCODER, blocks: int = 2) -> Converted:
    """Return "feature_wrapping", and "autoencoder" where the file has one.

    `layout` are the arguments of the autoencoder in diffusers, `blocks` the depth of the wrapping's dense part.
    """
    with torch.device("meta"):
        model = AutoencoderKL(**layout)
        wrapping = FeatureWrapping(model, blocks=blocks, groups=layout.get("norm_num_groups", 32))
    names = {
        "feature_wrapping": {own: _fusion_name(own) for own in wrapping.state_dict()},
        "autoencoder": autoencoder_names(model.state_dict(), levels=len(layout["block_out_channels"])),
    }
    shapes = {"feature_wrapping": shapes_of(wrapping), "autoencoder": shapes_of(model)}
    found = replace(taken(state, names, optional=("autoencoder",), needless=_JUDGES), shapes=shapes)
    stock = found.parts.get("autoencoder", {})
    ours = {own: as_linear(names["autoencoder"][own], tensor) for own, tensor in stock.items()}
    return replace(found, parts={**found.parts, "autoencoder": ours} if ours else found.parts)


def _modulation_name(own: str, layers: int) -> str:
    """The published name of `down_blocks.0.resnets.0.norm.weight` and its like."""
    *block, layer, kind = own.split(".")
    return _UNET + _ldm_name(".".join((*block, "spade", _SCALE_SHIFT[layer], kind)), layers)


def _encoder_name(own: str, layers: int) -> str:
    match own.split(".", maxsplit=2):
        case ["outputs", index, inner]:  # residual blocks, which LDM names alike wherever they stand
            middle = _ldm_name(f"mid_block.resnets.0.{inner}", layers)
            return f"{_ENCODER}fea_tran.{index}{middle.removeprefix('middle_block.0')}"
        case _:
            theirs = _ldm_name(own, layers)
            for ours, other in _ATTENTION.items():
                theirs = theirs.replace(f".{ours}.", f".{other}.")
            return _ENCODER + theirs


def _ldm_name(own: str, layers: int) -> str:
    return unet_names([own], layers=layers)[own]


def _attention_tensor(own: str, tensor: Tensor, heads: int) -> Tensor:
    """What is ours of a published tensor: of joint queries, keys and values, which come head by head, one of the three.

    Their 1 x 1 convolutions are our linear layers.
    """
    if ".attentions." not in own:
        return tensor
    matrix = tensor.squeeze(-1) if tensor.ndim == 3 else tensor
    for place, layer in enumerate(("to_q", "to_k", "to_v")):
        if f".{layer}." in own:
            return matrix.unflatten(0, (heads, 3, -1))[:, place].flatten(0, 1)
    return matrix


def _fusion_name(own: str) -> str:
    """The published name of `factor_2.dense.0.blocks.0.convs.0.weight` and its like."""
    factor, stage, *inner = own.split(".")
    level = int(log2(int(factor.removeprefix("factor_"))))
    if stage == "dense":
        index, _, block, _, conv, kind = inner
        inner = ["encode_enc_2", index, f"rdb{int(block) + 1}", f"conv{int(conv) + 1}", kind]
    else:
        inner = [_FUSION[stage], *("conv_out" if layer == "shortcut" else layer for layer in inner)]
    return ".".join(("decoder", f"fusion_layer_{level}", *inner))
