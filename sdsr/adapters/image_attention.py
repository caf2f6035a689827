"""SeeSR's image attention: after each transformer of a UNet or ControlNet, which attends to the prompt, stands another.

arXiv:2311.16518 (representation cross-attention) and its published code: the second one is complete, with attention to
itself, to tokens of the photo, and a feed-forward part. Several such adapters may be attached to one network, as those
of AddSR's student and teacher (arXiv:2404.01717); which one attends is said by the adapter name that comes with the
tokens. It is an argument of the call, so gradient checkpointing runs the same one again, whatever was predicted in
between.
"""

from copy import deepcopy
from functools import partial

from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sdsr.adapters.control import scale_init
from sdsr.adapters.layout import normalizable
from sdsr.prior.condition import ADAPTER, IMAGE_TOKENS

TOKEN_WIDTH = 512


class ImageAttention(nn.Module):
    """The image transformers of one UNet or ControlNet, alone: parameters and state are theirs only.

    They come detached. Attached, they work in the calls that are given tokens under their `adapter`; without tokens,
    under another name, and after `detach`, the network is the stock one, bit for bit. Their state has the published
    names (`down_blocks.0.image_attentions.0.proj_in.weight`). `head_width` is that of the network's own heads unless
    stated; `init_scale` is what the last layers begin at, as a share of their usual initialisation, which is the
    published beginning.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        token_width: int = TOKEN_WIDTH,
        head_width: int | None = None,
        init_scale: float | int = 1.0,
        adapter: str = "",
    ) -> None:
        super().__init__()
        self.adapter = adapter
        self._hooks: list[RemovableHandle] = []

        def beside(block: object) -> nn.ModuleDict:
            prompted = getattr(block, "attentions", ())
            layers = (_like(layer, token_width, head_width) for layer in prompted)
            return nn.ModuleDict({"image_attentions": nn.ModuleList(layers)})

        self.down_blocks = nn.ModuleList(map(beside, network.get_submodule("down_blocks").children()))
        self.mid_block = beside(network.get_submodule("mid_block"))
        self.up_blocks = nn.ModuleList(map(beside, getattr(network, "up_blocks", ())))
        if init_scale != 1:
            for layer in self._layers().values():
                scale_init(layer.get_submodule("proj_out"), init_scale)  # pyright: ignore[reportArgumentType]
        self.to(next(network.parameters()).device)

    def attach(self, network: nn.Module) -> None:
        """Lets `network`, or one of the same shape, attend to tokens that come under this adapter's name."""
        assert not self._hooks, "the image attention is already attached"
        for path, layer in self._layers().items():
            prompted = network.get_submodule(path.replace("image_attentions", "attentions"))
            assert isinstance(prompted, Transformer2DModel), f"{path} follows no transformer of this network"
            self._hooks.append(prompted.register_forward_hook(partial(_attend, layer, self.adapter), with_kwargs=True))
            for block in prompted.transformer_blocks:
                assert isinstance(block, BasicTransformerBlock), "the network computes with another adapter's blocks"
                self._hooks.append(block.register_forward_pre_hook(_keep_from, with_kwargs=True))

    def detach(self, network: nn.Module) -> None:
        """Leaves the network as it was."""
        assert self._hooks, "the image attention is not attached"
        while self._hooks:
            self._hooks.pop().remove()

    def copied(self, adapter: str) -> "ImageAttention":
        """Return a copy under another name, detached."""
        hooks = self._hooks
        self._hooks = []
        copied = deepcopy(self)
        self._hooks = hooks
        copied.adapter = adapter
        return copied

    def _layers(self) -> dict[str, Transformer2DModel]:
        return {path: layer for path, layer in self.named_modules() if isinstance(layer, Transformer2DModel)}


def _like(prompted: Transformer2DModel, token_width: int, head_width: int | None) -> Transformer2DModel:
    """A transformer for the same maps that attends to image tokens, in float32."""
    config = prompted.config
    return Transformer2DModel(
        num_attention_heads=config["num_attention_heads"],
        attention_head_dim=head_width or config["attention_head_dim"],
        in_channels=config["in_channels"],
        norm_num_groups=config["norm_num_groups"],
        cross_attention_dim=token_width,
        use_linear_projection=config["use_linear_projection"],
    )


def _attend(
    layer: Transformer2DModel,
    adapter: str,
    module: nn.Module,
    args: tuple[object, ...],
    kwargs: dict[str, object],
    output: tuple[Tensor, ...],
) -> tuple[Tensor, ...] | None:
    """A hook that hands a transformer's map, and the tokens of its call, to the image transformer."""
    arguments = kwargs.get("cross_attention_kwargs")
    tokens = arguments.get(IMAGE_TOKENS) if isinstance(arguments, dict) else None
    if not isinstance(arguments, dict) or tokens is None or arguments.get(ADAPTER, "") != adapter:
        return None
    assert isinstance(output, tuple), "a UNet asks its transformers for tuples"
    tokens = tokens.expand(len(output[0]), -1, -1)
    return layer(normalizable(output[0]), encoder_hidden_states=tokens, return_dict=False)


def _keep_from(
    block: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """A hook before a block that keeps the tokens from its attention, which warns of what it doesn't know."""
    return tuple(_without_tokens(value) for value in args), {
        name: _without_tokens(value) for name, value in kwargs.items()
    }


def _without_tokens(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {name: inner for name, inner in value.items() if name not in (IMAGE_TOKENS, ADAPTER)}
