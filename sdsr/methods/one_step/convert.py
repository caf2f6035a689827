"""Low-rank updates as peft, diffusers and kohya's programs name them, as our parts: D3SR's kind, HYPIR's, OSEDiff's.

A tensor's name is that of its layer, `lora_A` or `lora_B` (diffusers' older files: `lora.down`, `lora.up`), perhaps the
adapter's own name, and `weight`; whole files may begin with `unet.` or `base_model.model.`. kohya's names have
underscores for dots: `lora_unet_down_blocks_0_..._to_q.lora_down.weight`.

The strength of an update is alpha / rank. Where a file has an `alpha` for each layer (kohya's, some of diffusers'), the
update is multiplied so that the recipe's own strength makes of it what the file's makes; without any, the recipe knows.
"""

import re
from collections.abc import Mapping
from functools import cache

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from sdsr.adapters.lora import Lora
from sdsr.checkpoints.converted import Converted, Shapes, shapes_of
from sdsr.errors import ModelError
from sdsr.methods.one_step.generator import HYPIR, LORA, PROMPT, OneStep, encoder_layers
from sdsr.prior.shapes import AUTOENCODER, UNET

_BEFORE = r"(?:base_model\.model\.)?(?:unet\.)?"
_NAME = re.compile(
    _BEFORE + r"(?P<layer>.+?)\."
    r"(?:lora_(?P<side>[AB])(?:\.\w+)?|(?:processor\.)?lora[._](?P<way>down|up))\.weight"
)
_ALPHA = re.compile(_BEFORE + r"(?P<layer>.+?)(?:\.(?:processor\.)?lora)?\.(?:lora_)?alpha(?:\.\w+)?")
_OTHER_UPDATES = re.compile(r"\.(dora_scale|lora_magnitude_vector|lora_mid|hada_\w+|lokr_\w+|oft_\w+|boft_\w+)(\.|$)")
_SIDES = {"down": "A", "up": "B"}
_KOHYA = "lora_unet_"
_TOKENS = "tokens"


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Return the updates and the learned prompt of a generator like D3SR's.

    The prompt is the one tensor beside the updates that has two dimensions, or three with one photo's.
    """
    shapes = unet_shapes(OneStep())
    updates, rest = low_rank(state, shapes, scale=OneStep().alpha / OneStep().rank)
    told = [name for name, tensor in rest.items() if tensor.squeeze(0).ndim == 2]
    prompt = {_TOKENS: rest[told[0]].reshape(1, *rest[told[0]].shape[-2:])} if len(told) == 1 else {}
    return Converted(
        parts={LORA: _known(updates, shapes), PROMPT: prompt},
        unknown=(*(name for name in rest if not prompt or name != told[0]), *(updates.keys() - set(shapes))),
        missing=(*(name for name in shapes if name not in updates), *(() if prompt else (f"{PROMPT}.{_TOKENS}",))),
        shapes={LORA: shapes, PROMPT: {_TOKENS: (1, None, UNET["cross_attention_dim"])}},
    )


def convert_hypir(state: Mapping[str, Tensor]) -> Converted:
    """Return the updates of HYPIR's published file (`HYPIR_sd2.pth`), 514 tensors."""
    shapes = unet_shapes(HYPIR)
    updates, rest = low_rank(state, shapes, scale=HYPIR.alpha / HYPIR.rank)
    return Converted(
        parts={LORA: _known(updates, shapes)},
        unknown=(*rest, *(updates.keys() - set(shapes))),
        missing=tuple(name for name in shapes if name not in updates),
        shapes={LORA: shapes},
    )


def low_rank(
    state: Mapping[str, Tensor], shapes: Shapes, *, scale: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the updates among these tensors under our names, and the others under theirs.

    `shapes` are those of our updates; `scale` is the strength that they will be given. Raise ModelError where a file
    has tensors that change what an update does and that we don't know, or strengths for some of its updates only.
    """
    layers = {name.rsplit(".", 2)[0] for name in shapes}
    by_flat = {layer.replace(".", "_"): layer for layer in layers}
    updates = {}
    rest = {}
    alphas = dict[str, tuple[str, Tensor]]()
    for name, tensor in state.items():
        if other := _OTHER_UPDATES.search(name):
            raise ModelError(
                f"checkpoint has {other[1]} (={name}), which changes its updates and is not plain LoRA; merge it with "
                "the program that made it, and extract LoRA again."
            )
        if found := _NAME.fullmatch(name):
            ours = f"{_layer(found['layer'], by_flat)}.lora_{found['side'] or _SIDES[found['way']]}.weight"
            updates[ours] = _as_shaped(tensor, shapes.get(ours))
        elif found := _ALPHA.fullmatch(name):
            alphas[_layer(found["layer"], by_flat)] = name, tensor
        else:
            rest[name] = tensor
    return updates | _strengthened(updates, alphas, scale, rest), rest


def _layer(name: str, by_flat: Mapping[str, str]) -> str:
    """The dotted name of a layer, where it is kohya's; any other stays."""
    return by_flat.get(name.removeprefix(_KOHYA), name) if name.startswith(_KOHYA) else name


def _as_shaped(tensor: Tensor, shape: tuple[int | None, ...] | None) -> Tensor:
    """The tensor as a matrix where ours is one and it is a 1 x 1 convolution's."""
    is_flat = shape is not None and len(shape) == 2 and tensor.ndim == 4 and tuple(tensor.shape[2:]) == (1, 1)
    return tensor.flatten(1) if is_flat else tensor


def _strengthened(
    updates: Mapping[str, Tensor], alphas: Mapping[str, tuple[str, Tensor]], scale: float, rest: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The outer matrices times the file's own strength over `scale`; an alpha without an update goes to the rest."""
    if not alphas:
        return {}
    changed = {}
    for layer, (name, alpha) in alphas.items():
        inner, outer = (updates.get(f"{layer}.lora_{side}.weight") for side in "AB")
        if inner is None or outer is None:
            rest[name] = alpha
            continue
        if alpha.numel() != 1 or not bool(alpha.isfinite().all()) or inner.ndim == 0 or not len(inner):
            raise ModelError(f"checkpoint's {name} (={alpha.flatten()[:3].tolist()}) must be one finite number.")
        factor = float(alpha) / len(inner) / scale
        changed[f"{layer}.lora_B.weight"] = outer if factor == 1 else outer.float() * factor
    bare = [name for name in updates if name.endswith("lora_B.weight") and name not in changed]
    if changed and bare:
        raise ModelError(
            f"checkpoint has an alpha for {len(changed)} of its updates but none for {bare[0]} and {len(bare) - 1} "
            "more, whose strength can't be told; give a file with all or none."
        )
    return changed


@cache
def unet_shapes(generator: OneStep) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the updates of Stable Diffusion 2's UNet."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        return shapes_of(Lora(unet, rank=generator.rank, alpha=generator.alpha, targets=generator.targets))


@cache
def encoder_shapes(rank: int) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the updates of every layer of Stable Diffusion 2's encoder."""
    with torch.device("meta"):
        model = AutoencoderKL(**AUTOENCODER)
        return shapes_of(Lora(model, rank=rank, alpha=rank, targets=encoder_layers(model)))


def _known(tensors: Mapping[str, Tensor], names: Mapping[str, object]) -> dict[str, Tensor]:
    return {name: tensors[name] for name in names if name in tensors}
