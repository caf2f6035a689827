"""ConsisSR's hybrid attention: what it adds to each transformer block of a UNet or ControlNet.

arXiv:2410.13807, Section 3.2, and its published code where the paper is silent. Per block, in the order of computing:
a learned positional table on queries and keys of self-attention; a transposed self-attention (over channels) with its
norm; in cross-attention an image branch beside the text branch, through a linear layer that begins at zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sdsr.adapters.control import scale_init
from sdsr.adapters.placing import place
from sdsr.prior.condition import IMAGE_TOKENS
from sdsr.tensors import Tokens

GRID = "grid"
"""Where blocks find (height, width) of the map their tokens come from, among the `cross_attention_kwargs`."""

_PROJECTIONS = ("to_q", "to_k", "to_v")


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridSettings:
    """Which parts are added, and how they begin.

    `side_cells`: side of the native latent; a positional table has one row per token of it, at its level. `positional`,
    `transposed`: whether blocks get the table, and the attention over channels. `image`: "none", no image branch;
    "shared", keys and values through the prior's own layers (the paper); "separate", through copies of them (the
    published checkpoint). With a single image token the key has no effect. `zero_linear`: the image branch passes a
    linear layer initialised at zero; without one it is added as it is (IP-Adapter). `init_scale`: what the last layers
    of the additions begin at, as a share of their usual initialisation; zero changes nothing at first. Before other
    zeros, as in a ControlNet, it would keep what feeds them waiting for gradients.
    """

    side_cells: int = 64
    positional: bool = True
    transposed: bool = True
    image: Literal["none", "shared", "separate"] = "shared"
    zero_linear: bool = True
    init_scale: float | int = 0.0


class PositionTable(nn.Module):
    """A learned vector per token of the native map, as wide as one head, for queries and keys of all heads.

    Deviation: the published code takes its native size only; for other maps the table is resized as a grid, bicubic.
    """

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.side = side
        self.position_emb = nn.Parameter(torch.zeros(side * side, width))

    def forward(self, grid: tuple[int, int]) -> Tensor:
        """Return (height * width, width of a head), row by row."""
        native = (self.side, self.side)
        if grid == native:
            return self.position_emb
        table = self.position_emb.unflatten(0, native).permute(2, 0, 1)[None]
        return F.interpolate(table, grid, mode="bicubic", antialias=True)[0].flatten(1).T


class TransposedAttention(nn.Module):
    """Self-attention over the channels of each head, after Restormer (arXiv:2111.09881), adding zero at first.

    Logits are divided by the root of the number of tokens; no temperature, no normalisation, as published.
    Deviation: the published code takes square maps only.
    """

    def __init__(self, width: int, heads: int, init_scale: float | int = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width, bias=False)
        self.to_out = nn.Sequential(scale_init(nn.Linear(width, width), init_scale))

    def forward(self, tokens: Tokens, grid: tuple[int, int]) -> Tokens:
        image = tokens.transpose(1, 2).unflatten(2, grid)
        channels = self.qkv_dwconv(self.to_qkv(image)).flatten(2).unflatten(1, (3 * self.heads, -1))
        query, key, value = channels.chunk(3, dim=1)
        scaled = query * tokens.shape[1] ** -0.5  # before the product, which would leave the range of half precision
        mixed = (scaled @ key.transpose(-1, -2)).softmax(-1) @ value
        return self.to_out(mixed.flatten(1, 2).transpose(1, 2))


class ImageBranch(nn.Module):
    """Attention to the image tokens with the queries of the prompt's attention, added per head before heads are merged.

    The paper leaves the linear layer's size open; as published it is one head wide, and the heads of a block share it.
    """

    def __init__(self, attention: Attention, settings: HybridSettings) -> None:
        super().__init__()
        width = attention.inner_dim // attention.heads
        self.to_out_ip = (
            nn.Sequential(scale_init(nn.Linear(width, width), settings.init_scale)) if settings.zero_linear else None
        )
        separate = settings.image == "separate"
        self.to_k_ip = _copy(attention.get_submodule("to_k")) if separate else None
        self.to_v_ip = _copy(attention.get_submodule("to_v")) if separate else None

    def forward(self, attention: Attention, query: Tensor, tokens: Tokens) -> Tensor:
        """Return what to add to the text branch, (b, heads, n, width of a head)."""
        to_key = self.to_k_ip or attention.get_submodule("to_k")
        to_value = self.to_v_ip or attention.get_submodule("to_v")
        key, value = (_heads(layer, tokens, attention.heads) for layer in (to_key, to_value))
        seen = F.scaled_dot_product_attention(query, key, value)
        return seen if self.to_out_ip is None else self.to_out_ip(seen)


class Additions(nn.Module):
    """What one block gets; the names are those of the published checkpoint."""

    def __init__(self, block: BasicTransformerBlock, side: int, settings: HybridSettings) -> None:
        super().__init__()
        attention = block.attn1
        width = attention.inner_dim
        heads = attention.heads
        self.attn1 = PositionTable(side, width // heads) if settings.positional else None
        self.normT = nn.LayerNorm(width) if settings.transposed else None
        self.attnT = TransposedAttention(width, heads, settings.init_scale) if settings.transposed else None
        assert block.attn2 is not None, "a hybrid block needs cross-attention"
        self.attn2 = ImageBranch(block.attn2, settings) if settings.image != "none" else None


class HybridBlock(nn.Module):
    """A transformer block that computes with the children of a stock one, under their names, and with additions.

    The additions are not among its children, so a network's state dict has the same names, attached or not.
    """

    norm1: nn.LayerNorm
    norm2: nn.LayerNorm
    norm3: nn.LayerNorm
    attn1: Attention
    attn2: Attention
    ff: nn.Module

    def __init__(self, stock: BasicTransformerBlock, additions: Additions) -> None:
        super().__init__()
        assert stock.norm_type == "layer_norm", f"norm_type (={stock.norm_type}) of the block must be layer_norm"
        assert not stock.only_cross_attention, "the block has no self-attention"
        for name, child in stock.named_children():
            self.add_module(name, child)
        self._additions = (additions,)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        timestep: Tensor | None = None,
        cross_attention_kwargs: Mapping[str, object] | None = None,
        class_labels: Tensor | None = None,
    ) -> Tensor:
        """Take the arguments of diffusers' block, by position under gradient checkpointing and by name otherwise."""
        assert attention_mask is encoder_attention_mask is None, "hybrid attention takes no masks"
        assert encoder_hidden_states is not None, "hybrid attention needs a prompt"
        assert cross_attention_kwargs is not None, "the block stands outside of a Transformer2DModel"
        (added,) = self._additions
        grid = cross_attention_kwargs[GRID]
        assert isinstance(grid, tuple), "a hook tells the height and width of the map"
        hidden = hidden_states + self._attend_itself(self.norm1(hidden_states), added.attn1, grid)
        if added.attnT is not None and added.normT is not None:
            hidden = hidden + added.attnT(added.normT(hidden), grid)
        tokens = cross_attention_kwargs.get(IMAGE_TOKENS)
        assert tokens is None or isinstance(tokens, Tensor), "tokens are a tensor"
        hidden = hidden + self._attend_prompts(self.norm2(hidden), encoder_hidden_states, added.attn2, tokens)
        return hidden + self.ff(self.norm3(hidden))

    def _attend_itself(self, hidden: Tensor, table: PositionTable | None, grid: tuple[int, int]) -> Tensor:
        query, key, value = (_heads(self.attn1.get_submodule(name), hidden, self.attn1.heads) for name in _PROJECTIONS)
        if table is not None:
            places = table(grid).to(query.dtype)
            query = query + places
            key = key + places
        return _merged(self.attn1, F.scaled_dot_product_attention(query, key, value))

    def _attend_prompts(
        self, hidden: Tensor, prompt: Tensor, branch: ImageBranch | None, tokens: Tensor | None
    ) -> Tensor:
        sources = (hidden, prompt, prompt)
        query, key, value = (
            _heads(self.attn2.get_submodule(name), source, self.attn2.heads)
            for name, source in zip(_PROJECTIONS, sources, strict=True)
        )
        seen = F.scaled_dot_product_attention(query, key, value)
        if branch is not None and tokens is not None:
            seen = seen + branch(self.attn2, query, tokens.expand(len(hidden), -1, -1))
        return _merged(self.attn2, seen)


class HybridAttention(nn.Module):
    """The additions to all transformer blocks of one UNet or ControlNet, alone: parameters and state are theirs only.

    They come detached, and change nothing until they are trained (with `zero_linear`). `attach` lets the network
    compute with them, `detach` gives it its own blocks back, the very objects, so bit for bit. Their state has the
    names of the network's blocks (`down_blocks.0.attentions.0.transformer_blocks.0.attnT.to_qkv.weight`).
    """

    def __init__(self, network: nn.Module, settings: HybridSettings) -> None:
        super().__init__()
        self._blocks: dict[str, tuple[BasicTransformerBlock, HybridBlock]] = {}
        self._hooks: list[RemovableHandle] = []
        levels = len({path.split(".")[1] for path, _ in network.named_modules() if path.startswith("down_blocks.")})
        for path, module in list(network.named_modules()):
            if isinstance(module, BasicTransformerBlock):
                side = -(-settings.side_cells // 2 ** _level(path, levels))
                additions = Additions(module, side, settings)
                self._blocks[path] = (module, HybridBlock(module, additions))
                place(additions, self, path)
        assert self._blocks, "the network has no transformer block of its own; another adapter may be attached"
        self.to(next(network.parameters()).device)

    def attach(self, network: nn.Module) -> None:
        """Lets `network`, the one this was made for, compute with the additions."""
        for path, (stock, hybrid) in self._blocks.items():
            assert network.get_submodule(path) is stock, f"{path} is another network's, or already attached"
            network.set_submodule(path, hybrid)
        transformers = [module for module in network.modules() if isinstance(module, Transformer2DModel)]
        self._hooks = [module.register_forward_pre_hook(_tell_grid, with_kwargs=True) for module in transformers]

    def detach(self, network: nn.Module) -> None:
        """Gives `network` its own blocks back."""
        for path, (stock, hybrid) in self._blocks.items():
            assert network.get_submodule(path) is hybrid, f"{path} is not attached"
            network.set_submodule(path, stock)
        while self._hooks:
            self._hooks.pop().remove()


def _tell_grid(
    module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """A hook before a transformer that tells its blocks the size of the map, which their tokens alone don't show."""
    hidden = args[0] if args else kwargs["hidden_states"]
    assert isinstance(hidden, Tensor), "a transformer is given a map"
    grid = {GRID: (hidden.shape[-2], hidden.shape[-1])}
    told = kwargs.get("cross_attention_kwargs")
    return args, kwargs | {"cross_attention_kwargs": told | grid if isinstance(told, dict) else grid}


def _level(path: str, levels: int) -> int:
    """How often the latent has been halved where a block stands; a transformer on its own stands at level 0."""
    side, index, *_ = path.split(".")
    match side:
        case "down_blocks":
            return int(index)
        case "up_blocks":
            return levels - 1 - int(index)
        case _:
            return max(levels - 1, 0)


def _heads(projection: nn.Module, tokens: Tensor, heads: int) -> Tensor:
    """The projected tokens (b, n, d) as heads see them, (b, heads, n, width of a head)."""
    return projection(tokens).unflatten(-1, (heads, -1)).transpose(1, 2)


def _merged(attention: Attention, seen: Tensor) -> Tensor:
    """The output (b, n, d) of an attention whose heads saw (b, heads, n, width of a head)."""
    output = seen.transpose(1, 2).flatten(2)
    for layer in attention.get_submodule("to_out").children():
        output = layer(output)
    return output


def _copy(layer: nn.Module) -> nn.Linear:
    """A linear layer in float32 that begins as this one."""
    weight = layer.get_parameter("weight").detach()
    copied = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device=weight.device)
    copied.weight.data = weight.float().clone()
    return copied
