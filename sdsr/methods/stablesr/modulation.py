"""StableSR's modulation: SFT features of the photo scale and shift what each residual block of a UNet adds.

arXiv:2305.07015 (spatial feature transform) and its published code: it stands after the second convolution of a block,
before the skip is added, in all blocks of the encoder, the middle and the decoder.

Stock blocks pass no SFT features on, and gradient checkpointing runs them a second time, when other SFT features may be
at hand. So the SFT features of a prediction are tied to its time embedding: the one tensor that a UNet makes anew in
each call and hands to all its residual blocks, and that checkpointing keeps for the second run.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from functools import partial

import torch.nn.functional as F
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sdsr.adapters.layout import normalizable
from sdsr.errors import ModelError
from sdsr.prior.condition import SFT_FEATURES
from sdsr.prior.notes import TensorNotes
from sdsr.tensors import Float

_AT_WORK: ContextVar[Mapping[int, Tensor] | None] = ContextVar(
    "SFT features of the residual block at work", default=None
)


class ScaleShift(nn.Module):
    """GroupNorm(features) * (1 + scale(map)) + shift(map), for SFT features (maps) downsampled by `factor`.

    The normalisation has weights of its own. As published nothing begins at zero: even untrained it changes the UNet.
    """

    def __init__(self, block: ResnetBlock2D, *, factor: int, map_channels: int, hidden: int) -> None:
        super().__init__()
        self.factor = factor
        self.norm = nn.GroupNorm(block.norm2.num_groups, block.out_channels, eps=1e-5)
        self.shared = nn.Conv2d(map_channels, hidden, 3, padding=1)
        self.scale = nn.Conv2d(hidden, block.out_channels, 3, padding=1)
        self.shift = nn.Conv2d(hidden, block.out_channels, 3, padding=1)

    def forward(
        self, features: Float[Tensor, "b channels h w"], guide: Float[Tensor, "b guides h w"]
    ) -> Float[Tensor, "b channels h w"]:
        told = F.relu(self.shared(guide))
        modulated = self.norm(normalizable(features.float())) * (1 + self.scale(told)) + self.shift(told)
        return modulated.to(features.dtype)


class Modulation(nn.Module):
    """The modulation of all residual blocks of one UNet, alone: parameters and state are its own only.

    Its names are those of the blocks (`down_blocks.0.resnets.0.norm.weight`). It comes detached. Attached, it modulates
    the predictions that are given SFT features (`Condition.sft_features`); without SFT features, and after `detach`,
    the UNet is the stock one, bit for bit.
    """

    def __init__(self, unet: UNet2DConditionModel, *, map_channels: int = 256, hidden: int = 128) -> None:
        super().__init__()
        deepest = len(unet.down_blocks) - 1

        def beside(block: nn.Module, level: int) -> nn.ModuleDict:
            layers = (
                ScaleShift(resnet, factor=2**level, map_channels=map_channels, hidden=hidden)
                for resnet in block.get_submodule("resnets").children()
                if isinstance(resnet, ResnetBlock2D)
            )
            return nn.ModuleDict({"resnets": nn.ModuleList(layers)})

        self.down_blocks = nn.ModuleList(beside(block, level) for level, block in enumerate(unet.down_blocks))
        self.mid_block = beside(unet.get_submodule("mid_block"), deepest)
        self.up_blocks = nn.ModuleList(beside(block, deepest - back) for back, block in enumerate(unet.up_blocks))
        self.to(unet.device)
        self._hooks: list[RemovableHandle] = []
        self._features_of = TensorNotes()

    def attach(self, unet: UNet2DConditionModel) -> None:
        """Lets `unet` compute with the modulation where it is given SFT features."""
        assert not self._hooks, "the modulation is already attached"
        self._hooks.append(unet.time_embedding.register_forward_hook(self._tie))
        for path, layer in self.named_modules():
            if isinstance(layer, ScaleShift):
                block = unet.get_submodule(path)
                self._hooks.append(block.register_forward_pre_hook(self._look_up))
                self._hooks.append(block.get_submodule("conv2").register_forward_hook(partial(_modulate, layer)))

    def detach(self, unet: UNet2DConditionModel) -> None:
        """Takes the modulation off again."""
        assert self._hooks, "the modulation is not attached"
        while self._hooks:
            self._hooks.pop().remove()

    def _tie(self, module: nn.Module, args: tuple[object, ...], embedding: Tensor) -> None:
        self._features_of[embedding] = SFT_FEATURES.get()

    def _look_up(self, module: nn.Module, args: tuple[Tensor, Tensor]) -> None:
        embedding = args[1]
        if embedding not in self._features_of:
            raise ModelError(
                "the time embedding (=a copy) must be the tensor that the UNet made; modulation needs a UNet without "
                "additional embeddings, and gradient checkpointing that is not reentrant and keeps tensors in place."
            )
        _AT_WORK.set(self._features_of[embedding])


def _modulate(layer: ScaleShift, module: nn.Module, args: tuple[object, ...], features: Tensor) -> Tensor | None:
    """A hook after the second convolution of a block whose SFT features were looked up."""
    sft_features = _AT_WORK.get()
    _AT_WORK.set(None)
    if sft_features is None:
        return None
    if layer.factor not in sft_features:
        raise ModelError(
            f"SFT features (={sorted(sft_features)}) must have one for factor {layer.factor} of this UNet; "
            "use an encoder with as many levels as the UNet."
        )
    return layer(features, sft_features[layer.factor])
