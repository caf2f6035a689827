"""The published weights of SeeSR (github.com/cswry/SeeSR) and AddSR (github.com/CSRuiXie/AddSR) as our parts.

Both publish a folder `unet` and a folder `controlnet` in diffusers' layout, with image attention inside, and share the
tagger: RAM (`ram_swin_large_14m.pth`) and low-rank updates of it (`DAPE.pth`). Files are told apart by what they hold,
so one folder with all of them, whatever their names, is enough.
"""

from collections.abc import Iterable, Mapping

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from sdsr.adapters.control import HINT_WIDTHS, photo_control
from sdsr.adapters.image_attention import ImageAttention
from sdsr.adapters.tagger import SWIN_LARGE, SwinTagger
from sdsr.checkpoints.converted import Converted, shapes_of
from sdsr.prior.network_config import NetworkConfig
from sdsr.prior.shapes import UNET

Files = dict[str, dict[str, Tensor]]
"""What each file of a folder holds, by what it is: "unet", "controlnet", "tagger", "other"."""

RANK = 8
"""Of DAPE's updates; their scale is 1 / RANK."""

_NAMES = {
    ".embeddings.patch_embeddings.projection.": ".patch_embed.proj.",
    ".embeddings.norm.": ".patch_embed.norm.",
    ".encoder.layers.": ".layers.",
    ".attention.relative_position_bias.": ".attn.",
    ".attention.o_proj.": ".attn.proj.",
    **{f".attention.{layer}_proj.": ".attn.qkv." for layer in "qkv"},
    ".layernorm_before.": ".norm1.",
    ".layernorm_after.": ".norm2.",
    ".layernorm.": ".norm.",
}
"""What is ours in the names of a Swin transformer, and what it is called there."""

_PARTS = {"unet": ("unet", "attention"), "controlnet": ("controlnet", "control_attention")}
"""What is in a file of each kind."""

_VISUAL = "visual_encoder."
_PROJECTION = "image_proj."
_HARD_TAGS = ("label_embed", "wordvec_proj.", "tagging_head.", "tag_encoder.", "text_decoder.", "fc.", "logit_scale")
_UPDATES = ("lora_A", "lora_B")
_BUFFERS = (".relative_position_index", ".attn_mask")


def convert(
    state: Mapping[str, Tensor],
    *,
    layout: NetworkConfig = UNET,
    widths: tuple[int, ...] = HINT_WIDTHS,
    swin: NetworkConfig = SWIN_LARGE,
) -> Converted:
    """Return "attention", "unet" (the prior's), "control_attention", "controlnet" and "tagger".

    A name may begin with its file's, up to the last "/". `layout` are the arguments of the UNet in diffusers, `widths`
    those of the ControlNet's layers on the photo, `swin` the settings of the tagger.
    """
    networks = _networks(layout, widths, swin)
    files = _sorted_by_content(state)
    parts = {}
    missing = []
    unknown = [*files["other"]]
    for kind, names in _PARTS.items():
        held = dict(files[kind])
        for part in names:
            own = networks[part].state_dict()
            missing += [f"{kind}/{name}" for name in own if name not in held]
            parts[part] = {name: held.pop(name) for name in own if name in held}
        unknown += [f"{kind}/{name}" for name in held]
    parts["tagger"], needed, dropped = _tagger(files["tagger"], networks["tagger"].state_dict())
    missing += [f"tagger/{name}" for name in needed if name not in files["tagger"]]
    unknown += [f"tagger/{name}" for name in files["tagger"] if name not in needed and name not in dropped]
    return Converted(
        parts=parts,
        missing=tuple(missing),
        unknown=tuple(unknown),
        dropped=tuple(f"tagger/{name}" for name in dropped),
        files=_there(files),
        shapes={part: shapes_of(network) for part, network in networks.items()},
    )


def _there(files: Files) -> dict[str, bool]:
    """Which of the published files, whatever they are called here, some tensors are of."""
    updates = [name for name in files["tagger"] if name.endswith(_UPDATES)]
    return {
        "unet/": bool(files["unet"]),
        "controlnet/": bool(files["controlnet"]),
        "ram_swin_large_14m.pth": len(files["tagger"]) > len(updates),
        "DAPE.pth": bool(updates),
    }


def _networks(layout: NetworkConfig, widths: tuple[int, ...], swin: NetworkConfig) -> dict[str, nn.Module]:
    """Return the parts without weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**layout)
        controlnet = photo_control(unet, widths=widths)
        return {
            "unet": unet,
            "attention": ImageAttention(unet),
            "controlnet": controlnet,
            "control_attention": ImageAttention(controlnet),
            "tagger": SwinTagger(swin=swin),
        }


def merged(weight: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return joint queries, keys and values (3 d, d) with DAPE's updates of queries and values, none of keys.

    `first` (2 r, d) holds the inner matrices of both, one above the other, `second` (2 d, r) the outer ones.
    """
    inner = first.float().chunk(2)
    outer = second.float().chunk(2)
    of_queries, of_values = (b @ a / RANK for a, b in zip(inner, outer, strict=True))
    return (weight.float() + torch.cat([of_queries, torch.zeros_like(of_queries), of_values])).to(weight.dtype)


def _sorted_by_content(state: Mapping[str, Tensor]) -> Files:
    """The tensors of each network without their files' names; what belongs to none keeps its own."""
    by_file: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        file, _, inner = name.rpartition("/")
        by_file.setdefault(file, {})[inner] = tensor
    found: Files = {"unet": {}, "controlnet": {}, "tagger": {}, "other": {}}
    for file, held in by_file.items():
        match _kind(held):
            case "tagger":
                ours = {_after(name, (_VISUAL, _PROJECTION, *_HARD_TAGS)): tensor for name, tensor in held.items()}
                is_update = any(name.endswith(_UPDATES) for name in ours)
                found["tagger"] = found["tagger"] | ours if is_update else ours | found["tagger"]
            case "other":
                found["other"] |= {f"{file}/{name}" if file else name: tensor for name, tensor in held.items()}
            case kind:
                found[kind] |= held
    return found


def _kind(names: Iterable[str]) -> str:
    if any(_VISUAL in name for name in names):
        return "tagger"
    tops = {name.partition(".")[0] for name in names}
    return "controlnet" if "controlnet_cond_embedding" in tops else "unet" if "up_blocks" in tops else "other"


def _after(name: str, known: tuple[str, ...]) -> str:
    """The name without what a training program put before all names ("model.", "params.")."""
    inner = name.partition(".")[2]
    return inner if inner.startswith(known) and not name.startswith(known) else name


def _tagger(held: Mapping[str, Tensor], own: Iterable[str]) -> tuple[dict[str, Tensor], set[str], list[str]]:
    """The part, the published names that it needs, and those that it doesn't."""
    part = {}
    needed = set[str]()
    for name in own:
        theirs = _published(name)
        update = [f"{theirs.removesuffix('.weight')}.lora_{side}" for side in "AB"] if ".attn.qkv.w" in theirs else []
        needed |= {theirs, *(one for one in update if one in held)}
        if theirs not in held:
            continue
        tensor = held[theirs]
        if update and all(one in held for one in update):
            tensor = merged(tensor, *(held[one] for one in update))
        part[name] = _third(name, tensor)
    dropped = [name for name in held if name.startswith(_HARD_TAGS) or name.endswith(_BUFFERS)]
    return part, needed, dropped


def _published(name: str) -> str:
    for ours, theirs in _NAMES.items():
        name = name.replace(ours, theirs)
    return name


def _third(name: str, tensor: Tensor) -> Tensor:
    """Of joint queries, keys and values, those that are meant by our name."""
    for place, layer in enumerate("qkv"):
        if f".{layer}_proj." in name:
            return tensor.chunk(3)[place]
    return tensor
