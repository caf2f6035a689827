"""ConsisSR's published checkpoint (github.com/Gujojo/ConsisSR, `ConsisSR.ckpt`) as our parts.

It holds all that the model stands on: UNet and ControlNet, both with hybrid attention, the autoencoder, a second copy
of its encoder for the photo, both CLIP towers, the image prompt, and the buffers of its schedule.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from sdsr.adapters.control import latent_control
from sdsr.adapters.hybrid_attention import HybridAttention, HybridSettings
from sdsr.adapters.image_prompt import ImagePrompt
from sdsr.checkpoints.converted import Converted, shapes_of, taken
from sdsr.checkpoints.ldm import SCHEDULE, as_linear, autoencoder_names, unet_names
from sdsr.checkpoints.open_clip import text_tower, vision_tower
from sdsr.prior.network_config import NetworkConfig
from sdsr.prior.shapes import AUTOENCODER, UNET

PUBLISHED = HybridSettings(image="separate")

IMAGE_PROMPT = "cond_stage_model.ft_layers_4."
"""The prefix of the image prompt; its number is that of a variant, of which only this one was published."""

_UNET = "model.diffusion_model."
_CONTROL = "control_model."
_AUTOENCODER = "first_stage_model."
_CONDITION = "cond_encoder."
_TEXT = "cond_stage_model.model."
_VISION = "cond_stage_model.model.visual."
_TEACHER = "cond_stage_model.model.v_fix."  # of the first stage
_ENCODER = ("encoder.", "quant_conv.")
_EMBEDDED = 1024  # of CLIP's image tower
_FROZEN = ("unet", "autoencoder", "condition_autoencoder")


def convert(state: Mapping[str, Tensor], *, layout: NetworkConfig = UNET) -> Converted:
    """Return the parts of a checkpoint; `layout` are the arguments of its UNet in diffusers.

    UNet, autoencoders and text tower, which were never trained, may be absent as a whole; of all other parts every
    absent tensor is missing.
    """
    networks = part_networks(layout)
    names = part_names(layout, networks)
    own = {name: tensor for name, tensor in state.items() if name.startswith(_TEACHER) or not name.startswith(_TEXT)}
    found = taken(own, names, optional=_FROZEN, needless=(*SCHEDULE, _TEACHER))
    parts = {
        part: {name: as_linear(names[part][name], tensor) for name, tensor in tensors.items()}
        for part, tensors in found.parts.items()
    }
    shapes = {part: shapes_of(network) for part, network in networks.items()}
    text = _within(state, _TEXT, without=(_VISION, _TEACHER))
    return _joined(
        replace(found, parts=parts, shapes=shapes),
        _outside(vision_tower(_within(state, _VISION)), _VISION),
        *([_outside(text_tower(text), _TEXT)] if text else []),
    )


def part_networks(layout: NetworkConfig = UNET) -> dict[str, nn.Module]:
    """Return, by part but for CLIP's towers, the networks without weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**layout)
        controlnet = latent_control(unet)
        autoencoder = AutoencoderKL(**AUTOENCODER)
        return {
            "unet": unet,
            "hybrid": HybridAttention(unet, PUBLISHED),
            "controlnet": controlnet,
            "control_hybrid": HybridAttention(controlnet, PUBLISHED),
            "autoencoder": autoencoder,
            "condition_autoencoder": autoencoder,
            "image_prompt": ImagePrompt(_EMBEDDED, layout["cross_attention_dim"]),
        }


def part_names(
    layout: NetworkConfig = UNET, networks: Mapping[str, nn.Module] | None = None
) -> dict[str, dict[str, str]]:
    """Return, by part but for CLIP's towers, the published name of each of our tensors."""
    networks = part_networks(layout) if networks is None else networks
    layers = layout.get("layers_per_block", 2)
    image_prompt = networks["image_prompt"]
    latents = autoencoder_names(networks["autoencoder"].state_dict())
    return {
        **{
            part: _after(prefix, unet_names(networks[part].state_dict(), layers=layers))
            for part, prefix in (
                ("unet", _UNET),
                ("hybrid", _UNET),
                ("controlnet", _CONTROL),
                ("control_hybrid", _CONTROL),
            )
        },
        "autoencoder": _after(_AUTOENCODER, latents),
        "condition_autoencoder": _after(_CONDITION, {own: latents[own] for own in latents if own.startswith(_ENCODER)}),
        "image_prompt": {own: IMAGE_PROMPT + own.removeprefix("layers.") for own in image_prompt.state_dict()},
    }


def _after(prefix: str, names: Mapping[str, str]) -> dict[str, str]:
    return {own: prefix + theirs for own, theirs in names.items()}


def _within(state: Mapping[str, Tensor], prefix: str, without: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The tensors under a prefix, by the rest of their names."""
    inside = (name for name in state if name.startswith(prefix) and not name.startswith(without))
    return {name.removeprefix(prefix): state[name] for name in inside}


def _outside(tower: Converted, prefix: str) -> Converted:
    """What a tower's conversion gave, its published names as they are in the whole checkpoint."""
    dropped, unknown, missing = (
        tuple(prefix + name for name in names) for names in (tower.dropped, tower.unknown, tower.missing)
    )
    return Converted(parts=tower.parts, dropped=dropped, unknown=unknown, missing=missing, shapes=tower.shapes)


def _joined(*found: Converted) -> Converted:
    return Converted(
        parts={part: tensors for one in found for part, tensors in one.parts.items()},
        dropped=tuple(chain.from_iterable(one.dropped for one in found)),
        unknown=tuple(chain.from_iterable(one.unknown for one in found)),
        missing=tuple(chain.from_iterable(one.missing for one in found)),
        shapes={part: shapes for one in found for part, shapes in one.shapes.items()},
    )
