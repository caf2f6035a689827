"""OpenCLIP's two towers, named as transformers names them: CLIPVisionModelWithProjection and CLIPTextModel.

OpenCLIP stores query, key and value as one matrix, the image projection transposed, and a text block that Stable
Diffusion 2 never runs (it listens to the last block but one).
"""

import re
from collections.abc import Mapping

from torch import Tensor

from sdsr.checkpoints.converted import Converted

_VISION = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "ln_post.weight": "vision_model.post_layernorm.weight",
    "ln_post.bias": "vision_model.post_layernorm.bias",
    "proj": "visual_projection.weight",
}
_TEXT = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_TEXT_UNUSED = ("text_projection", "logit_scale")
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_IN_PROJECTIONS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_TRANSPOSED = "proj"
_NUMBER = re.compile(r"transformer\.resblocks\.(\d+)\.")


def vision_tower(state: Mapping[str, Tensor]) -> Converted:
    """Return the image tower as part "image_encoder"; `state` is what OpenCLIP keeps under `visual.`."""
    names = {name: (own,) for name, own in _VISION.items()} | _block_names("vision_model.encoder", _depth(state))
    return _converted("image_encoder", state, names, dropped=())


def text_tower(state: Mapping[str, Tensor]) -> Converted:
    """Return the text tower as part "text", without the last block and the projection, which Stable Diffusion drops.

    `state` is what OpenCLIP keeps beside `visual.`.
    """
    last = _depth(state) - 1
    names = {name: (own,) for name, own in _TEXT.items()} | _block_names("encoder", last)
    unused = tuple(name for name in state if name in _TEXT_UNUSED or name.startswith(f"transformer.resblocks.{last}."))
    return _converted("text", state, names, dropped=unused)


def _depth(state: Mapping[str, Tensor]) -> int:
    found = (_NUMBER.match(name) for name in state)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _block_names(encoder: str, depth: int) -> dict[str, tuple[str, ...]]:
    """Return our names for each of OpenCLIP's in the first `depth` blocks; a joint projection has three."""
    names = {}
    for index in range(depth):
        theirs = f"transformer.resblocks.{index}."
        ours = f"{encoder}.layers.{index}."
        for kind in ("weight", "bias"):
            names |= {f"{theirs}{old}.{kind}": (f"{ours}{new}.{kind}",) for old, new in _BLOCK.items()}
            names[f"{theirs}attn.in_proj_{kind}"] = tuple(f"{ours}{new}.{kind}" for new in _IN_PROJECTIONS)
    return names


def _converted(
    part: str, state: Mapping[str, Tensor], names: Mapping[str, tuple[str, ...]], *, dropped: tuple[str, ...]
) -> Converted:
    tensors = {}
    for name in names.keys() & state.keys():
        tensor = state[name].T if name == _TRANSPOSED else state[name]
        tensors |= dict(zip(names[name], tensor.chunk(len(names[name])), strict=True))
    return Converted(
        parts={part: tensors},
        dropped=dropped,
        unknown=tuple(name for name in state if name not in names and name not in dropped),
        missing=tuple(name for name in names if name not in state),
        shapes={part: {name: (None,) * _rank(name) for name in tensors}},
    )


def _rank(name: str) -> int:
    """How many dimensions one of our tensors has; of which size is for the network to say."""
    if name.endswith("patch_embedding.weight"):
        return 4
    return (
        1
        if name.endswith(("bias", "norm.weight", "norm1.weight", "norm2.weight", "class_embedding", "layrnorm.weight"))
        else 2
    )
