"""The names that the LDM code base (Stable Diffusion's first) gives to what diffusers names otherwise.

Each function takes diffusers' names of one network, so that the network itself says what it needs, and returns the LDM
names by them. All but the middle attention of an autoencoder, whose layers are 1 x 1 convolutions in LDM, is
renaming. `layers` is the number of residual blocks per level in the encoder.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor

SCHEDULE = ("betas", "alphas_", "sqrt_", "log_one_minus_", "posterior_", "logvar")
"""How the names of buffers begin that tell of the schedule."""

_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "controlnet_mid_block": "middle_block_out.0",
}
_RESIDUAL_BLOCK = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_AUTOENCODER_MIDDLE = {
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.attentions.0": "mid.attn_1",
    "mid_block.resnets.1": "mid.block_2",
    "conv_norm_out": "norm_out",
}
_AUTOENCODER_INNER = {
    "conv_shortcut": "nin_shortcut",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def unet_names(names: Iterable[str], *, layers: int = 2) -> dict[str, str]:
    """Return the LDM names of a UNet's or ControlNet's tensors.

    What stands inside a residual block or transformer and has no other name in LDM keeps its own.
    """
    names = tuple(names)
    attentive = {_block(name) for name in names if ".attentions." in name}
    return {name: _unet_name(name, layers, attends=_block(name) in attentive) for name in names}


def autoencoder_names(names: Iterable[str], *, levels: int = 4) -> dict[str, str]:
    """Return the LDM names of an autoencoder's tensors; its decoder has `levels` levels."""
    return {name: _autoencoder_name(name, levels) for name in names}


def as_linear(name: str, tensor: Tensor) -> Tensor:
    """Return an LDM autoencoder's tensor as diffusers stores it: the middle attention's weights as matrices."""
    return tensor.flatten(1) if ".mid.attn_1." in name and tensor.ndim == 4 else tensor


def _block(name: str) -> str:
    """`up_blocks.1` of a name inside of it."""
    return ".".join(name.split(".")[:2])


def _unet_name(name: str, layers: int, *, attends: bool) -> str:
    match name.split("."):
        case ["down_blocks", level, kind, index, *inner]:
            first = 1 + int(level) * (layers + 1)
            if kind == "downsamplers":
                return ".".join(("input_blocks", str(first + layers), "0", "op", *inner[1:]))
            return f"input_blocks.{first + int(index)}.{_layer(kind, inner)}"
        case ["up_blocks", level, kind, index, *inner]:
            first = int(level) * (layers + 1)
            if kind == "upsamplers":
                return ".".join(("output_blocks", str(first + layers), "2" if attends else "1", *inner))
            return f"output_blocks.{first + int(index)}.{_layer(kind, inner)}"
        case ["controlnet_down_blocks", index, kind]:
            return f"zero_convs.{index}.0.{kind}"
        case ["controlnet_cond_embedding", *inner]:
            return _hint_name(inner)
        case _:
            renamed = _replaced_start(name, _ENDS)
            return renamed if ".resnets." not in name else _residual(renamed)


def _layer(kind: str, inner: list[str]) -> str:
    """The LDM name of a residual block's or transformer's tensor, from the number of that layer on."""
    rest = ".".join(inner)
    return f"0.{_replaced_start(rest, _RESIDUAL_BLOCK)}" if kind == "resnets" else f"1.{rest}"


def _residual(name: str) -> str:
    """`middle_block.0.in_layers.0.weight` of `middle_block.0.norm1.weight`."""
    block, index, rest = name.split(".", maxsplit=2)
    return f"{block}.{index}.{_replaced_start(rest, _RESIDUAL_BLOCK)}"


def _hint_name(inner: list[str]) -> str:
    """The name of one of the eight convolutions of a hint; activations stand between them."""
    match inner:
        case ["conv_in", kind]:
            return f"input_hint_block.0.{kind}"
        case ["blocks", index, kind]:
            return f"input_hint_block.{2 + 2 * int(index)}.{kind}"
        case _:
            return f"input_hint_block.14.{inner[-1]}"


def _autoencoder_name(name: str, levels: int) -> str:
    side, _, rest = name.partition(".")
    match rest.split("."):
        case ["down_blocks" | "up_blocks" as blocks, index, kind, number, *inner]:
            level = int(index) if blocks == "down_blocks" else levels - 1 - int(index)
            layer = f"block.{number}" if kind == "resnets" else kind.removesuffix("rs")  # "downsample", "upsample"
            own = f"{blocks.removesuffix('_blocks')}.{level}.{layer}."
            return f"{side}.{own}{_replaced_start('.'.join(inner), _AUTOENCODER_INNER)}"
        case ["mid_block", kind, index, *inner]:
            own = _AUTOENCODER_MIDDLE[f"mid_block.{kind}.{index}"]
            return f"{side}.{own}.{_replaced_start('.'.join(inner), _AUTOENCODER_INNER)}"
        case _:
            return f"{side}.{_replaced_start(rest, _AUTOENCODER_MIDDLE)}"


def _replaced_start(name: str, table: Mapping[str, str]) -> str:
    """The name with its start replaced by what the table has for it; without an entry, the name."""
    for start, other in table.items():
        if name.startswith(f"{start}."):
            return f"{other}{name.removeprefix(start)}"
    return name
