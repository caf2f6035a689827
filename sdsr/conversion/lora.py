"""Low-rank updates as peft and diffusers name them, as our parts: D3SR's kind, HYPIR's, OSEDiff's.

A tensor's name is that of its layer, `lora_A` or `lora_B` (diffusers' older files: `lora.down`, `lora.up`), perhaps the
adapter's own name, and `weight`; whole files may begin with `unet.` or `base_model.model.`. The scale, alpha / rank, is
in no file; the recipe knows it.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from sdsr.adapters.lora import Lora
from sdsr.conversion.checkpoint import without_wrappers
from sdsr.conversion.report import Converted
from sdsr.methods.one_step import HYPIR, LORA, PROMPT, Generator, encoder_layers
from sdsr.prior.shapes import AUTOENCODER, UNET

_NAME = re.compile(
    r"(?:base_model\.model\.)?(?:unet\.)?(?P<layer>.+?)\."
    r"(?:lora_(?P<side>[AB])(?:\.\w+)?|(?:processor\.)?lora[._](?P<way>down|up))\.weight"
)
_SIDES = {"down": "A", "up": "B"}
_TOKENS = "tokens"


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Return the updates and the learned prompt of a generator like D3SR's.

    The prompt is the one tensor beside the updates that has two dimensions, or three with one photo's.
    """
    state = without_wrappers(state)
    updates, rest = low_rank(state)
    told = [name for name, tensor in rest.items() if tensor.squeeze(0).ndim == 2]
    prompt = {_TOKENS: rest[told[0]].reshape(1, *rest[told[0]].shape[-2:])} if len(told) == 1 else {}
    names = unet_names(Generator())
    return Converted(
        parts={LORA: _known(updates, names), PROMPT: prompt},
        unknown=(*(name for name in rest if not prompt or name != told[0]), *(updates.keys() - set(names))),
        missing=(*(name for name in names if name not in updates), *(() if prompt else (f"{PROMPT}.{_TOKENS}",))),
    )


def convert_hypir(state: Mapping[str, Tensor]) -> Converted:
    """Return the updates of HYPIR's published file (`HYPIR_sd2.pth`), 514 tensors."""
    updates, rest = low_rank(without_wrappers(state))
    names = unet_names(HYPIR)
    return Converted(
        parts={LORA: _known(updates, names)},
        unknown=(*rest, *(updates.keys() - set(names))),
        missing=tuple(name for name in names if name not in updates),
    )


def low_rank(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the updates among these tensors under our names, and the others under theirs."""
    updates, rest = {}, {}
    for name, tensor in state.items():
        found = _NAME.fullmatch(name)
        if found is None:
            rest[name] = tensor
        else:
            updates[f"{found['layer']}.lora_{found['side'] or _SIDES[found['way']]}.weight"] = tensor
    return updates, rest


@cache
def unet_names(generator: Generator) -> tuple[str, ...]:
    """Return the names of the updates of Stable Diffusion 2's UNet."""
    with torch.device("meta"):
        return tuple(Lora(UNet2DConditionModel(**UNET), rank=1, alpha=1, targets=generator.targets).state_dict())


@cache
def encoder_names() -> tuple[str, ...]:
    """Return the names of the updates of every layer of Stable Diffusion 2's encoder."""
    with torch.device("meta"):
        model = AutoencoderKL(**AUTOENCODER)
        return tuple(Lora(model, rank=1, alpha=1, targets=encoder_layers(model)).state_dict())


def _known(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    return {name: tensors[name] for name in names if name in tensors}
