"""ControlNets (arXiv:2302.05543) made from a prior's UNet, and what they tell it.

The hint is added after the first convolution. It is the photo's latent in ConsisSR, its pixels in SeeSR.
"""

from typing import TypeVar

import torch
import torch.nn.functional as F
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding, ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from sdsr.prior.condition import Condition
from sdsr.tensors import Float, Latent, Time

HINT_WIDTHS = (16, 32, 96, 256)

Hint = Float[Tensor, "hints channels rows columns"]
"""What a ControlNet looks at, one for each noisy latent or one for all: latents or photos, as it was made."""


HintFeatures = Float[Tensor, "hints width height width_cells"]
"""What a ControlNet's layers of the hint make of one: what it adds after its first convolution."""


class HintLayers(nn.Module):
    """The stock layers of the hint, under their names, which let pass what they made of one already.

    That depends on neither time nor prompt, but a stock ControlNet makes it anew whenever it is asked.
    """

    def __init__(self, stock: ControlNetConditioningEmbedding) -> None:
        super().__init__()
        assert stock.conv_in.in_channels != stock.conv_out.out_channels, "a hint can't be told from its features"
        self.conv_in = stock.conv_in
        self.blocks = stock.blocks
        self.conv_out = stock.conv_out

    def forward(self, hint: Hint | HintFeatures) -> HintFeatures:
        if hint.shape[1] == self.conv_out.out_channels:
            return hint
        features = F.silu(self.conv_in(hint))
        for block in self.blocks:
            features = F.silu(block(features))
        return self.conv_out(features)


Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def scale_init(layer: Layer, scale: float | int) -> Layer:
    """Scale a layer's fresh initialisation, its bias to zero; return the layer."""
    with torch.no_grad():
        layer.weight.mul_(scale)
        if layer.bias is not None:
            layer.bias.zero_()
    return layer


def latent_control(
    unet: UNet2DConditionModel, *, widths: tuple[int, ...] = HINT_WIDTHS, init_scale: float | int = 0.0
) -> ControlNetModel:
    """Return a ControlNet whose hint is a latent of the UNet, in float32, telling it nothing at first.

    `init_scale` is what the hint's last layer begins at, as a share of its usual initialisation; at zero, which is
    usual, the layers of the hint wait for gradients until the ControlNet's own outputs have left zero. Encoder and
    middle are copies of the UNet's. The convolutions of the hint, of `widths` and then the UNet's first, keep its size
    (arXiv:2410.13807, published code), where diffusers' own make it 8 times smaller.
    """
    controlnet = ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=widths, conditioning_channels=unet.config["in_channels"]
    )
    for layer in controlnet.controlnet_cond_embedding.blocks:
        assert isinstance(layer, nn.Conv2d)
        layer.stride = (1, 1)
    if init_scale:
        hint = controlnet.controlnet_cond_embedding.conv_out
        hint.reset_parameters()
        scale_init(hint, init_scale)
    return _beside(unet, controlnet)


def photo_control(
    unet: UNet2DConditionModel, *, widths: tuple[int, ...] = HINT_WIDTHS, init_scale: float | int = 0.0
) -> ControlNetModel:
    """Return a ControlNet whose hint is a photo in [0, 1], 2 ** (len(widths) - 1) times the latent's size: 8 times.

    At their usual initialisation the layers of the hint lose what photos differ in, narrow ones nearly all of it, and
    take hundreds of steps to find it again. So with `init_scale`, which is for the last one as in `latent_control`,
    they keep its variance (arXiv:1502.01852).
    """
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=widths)
    if init_scale:
        hint = controlnet.controlnet_cond_embedding
        for layer in (hint.conv_in, *hint.blocks, hint.conv_out):
            assert isinstance(layer, nn.Conv2d)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            scale_init(layer, init_scale if layer is hint.conv_out else 1.0)
    return _beside(unet, controlnet)


def residuals(
    controlnet: ControlNetModel,
    noisy: Latent,
    t: int | Time,
    condition: Condition,
    hint: Hint | HintFeatures,
    *,
    scale: float | int = 1.0,
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return `Condition.residuals`: `scale` times the ControlNet's view of the hint, under the same condition.

    The hint may be given as its `hint_features`, which are made once for all steps.
    It computes in the surrounding precision; enter `Prior.precision()` where the prior's is wanted.
    """
    skips, bottleneck = controlnet(
        noisy,
        torch.as_tensor(t, device=noisy.device).expand(len(noisy)),
        condition.prompt.expand(len(noisy), -1, -1),
        hint.expand(len(noisy), -1, -1, -1),
        conditioning_scale=scale,
        cross_attention_kwargs=condition.attention,
        return_dict=False,
    )
    return tuple(skips), bottleneck


def hint_features(controlnet: ControlNetModel, hint: Hint) -> HintFeatures:
    """Return what the layers of the hint make of it, in the surrounding precision."""
    return controlnet.controlnet_cond_embedding(hint)


def _beside(unet: UNet2DConditionModel, controlnet: ControlNetModel) -> ControlNetModel:
    """The ControlNet on the UNet's device; its layers of the hint take features, too."""
    controlnet.set_submodule("controlnet_cond_embedding", HintLayers(controlnet.controlnet_cond_embedding))
    nn.Module.to(controlnet, unet.device)
    return controlnet
