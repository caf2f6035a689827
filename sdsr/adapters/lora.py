"""Low-rank updates of a diffusion UNet (LoRA, arXiv:2106.09685), through peft."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from sdsr.adapters.placing import place
from sdsr.adapters.sharing import share_weights

if TYPE_CHECKING:
    from peft.tuners.lora.layer import Conv2d, Linear

TARGETS = (
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "conv",
    "conv1",
    "conv2",
    "conv_in",
    "conv_shortcut",
    "conv_out",
    "proj_in",
    "proj_out",
    "ff.net.0.proj",
    "ff.net.2",
)
"""Attention, feed-forward, projections and every convolution, but not the time embedding: D3SR's list, inferred from
the operations its paper counts (arXiv:2410.04224, Table 3)."""

ADAPTER = "default"


def inject_lora(
    unet: nn.Module, *, rank: int, alpha: int, targets: Sequence[str] = TARGETS
) -> "dict[str, Linear | Conv2d]":
    """Wraps the layers of `unet` whose name ends in one of `targets`, and returns the wrappers by name.

    The update starts at zero. Nothing but the updates requires gradients afterwards; they are kept in float32 whatever
    the precision of the UNet.
    """
    from peft import (
        LoraConfig,
        inject_adapter_in_model,
    )  # which imports all of transformers: where there is a LoRA only
    from peft.tuners.lora.layer import Conv2d, Linear

    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets)), unet, ADAPTER)
    wrappers = {name: module for name, module in unet.named_modules() if isinstance(module, (Linear, Conv2d))}
    for wrapper in wrappers.values():
        wrapper.lora_A.float()
        wrapper.lora_B.float()
    return wrappers


class Lora(nn.Module):
    """The updates of one network, alone: parameters and state (`down_blocks.0...to_q.lora_A.weight`) are theirs only.

    It comes detached. `attach` lets the UNet compute with it, `detach` gives the UNet its own layers back, the very
    objects, so bit for bit; `fuse` ends all that. The scale of the update is alpha / rank.
    """

    def __init__(self, unet: nn.Module, *, rank: int = 16, alpha: int = 16, targets: Sequence[str] = TARGETS) -> None:
        super().__init__()
        self._fused: list[nn.Parameter] = []
        learning = [parameter for parameter in unet.parameters() if parameter.requires_grad]
        self._wrappers = inject_lora(unet, rank=rank, alpha=alpha, targets=targets)
        for name, wrapper in self._wrappers.items():
            place(wrapper.lora_A[ADAPTER], self, f"{name}.lora_A")
            place(wrapper.lora_B[ADAPTER], self, f"{name}.lora_B")
        del unet.peft_config
        self.detach(unet)
        for parameter in learning:
            parameter.requires_grad_()

    def attach(self, unet: nn.Module) -> None:
        """Lets `unet`, the one this was made for, compute with the updates."""
        for name, wrapper in self._wrappers.items():
            assert unet.get_submodule(name) is wrapper.base_layer, f"{name} is another UNet's, or already attached"
            unet.set_submodule(name, wrapper)

    def detach(self, unet: nn.Module) -> None:
        """Gives `unet` its own layers back."""
        for name, wrapper in self._wrappers.items():
            assert unet.get_submodule(name) is wrapper, f"{name} is not attached"
            unet.set_submodule(name, wrapper.base_layer)

    @property
    def is_fused(self) -> bool:
        """Whether the network has weights with the updates added, and computes without these."""
        return bool(self._fused)

    def fuse(self, network: nn.Module) -> None:
        """Adds the attached updates to weights of the network's own, for good; a second time, nothing happens.

        The adapted layers stay as they are beside it: one that learned whole is saved without its update.
        """
        if self._fused:
            return
        self.detach(network)
        for name, wrapper in self._wrappers.items():
            weight = _updated(wrapper)
            layer = share_weights(wrapper.base_layer)
            layer.register_parameter("weight", weight)
            network.set_submodule(name, layer)
            self._fused.append(weight)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Lora":
        """Fused weights go where the updates go (to a device): no other module of a method holds them."""
        for weight in self._fused:
            weight.data = fn(weight.data)
        return super()._apply(fn, recurse)


def _updated(wrapper: "Linear | Conv2d") -> nn.Parameter:
    """The weight of a wrapped layer with its update added, in the layer's precision and memory format.

    W = W_0 + (alpha / r) B A (arXiv:2106.09685, Eq. 3), so a fused layer costs what the stock one does.
    """
    weight: Tensor = wrapper.base_layer.get_parameter("weight").detach()
    updated = weight.float() + wrapper.get_delta_weight(ADAPTER).detach().float()
    return nn.Parameter(updated.to(weight.dtype), requires_grad=False)
