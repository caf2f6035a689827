"""A UNet's first level without those below: for latents whose restoration needs no wide view, or gets it elsewhere.

Of the default on the small prior, all that came from below changed results by one level of 255 in the mean, and took a
quarter of the time of a photo; its decoder looks 100 px around anyway.
"""

from typing import Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from sdsr.prior.running import lay_out

_KEPT = ("conv_in.", "time_embedding.", "down_blocks.0.resnets.", "conv_norm_out.", "conv_out.")


@torch.no_grad()
def first_level(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """Return a UNet of its first level alone, with copies of its weights, all of which learn.

    Where maps from below were joined, it sees its own a second time, with weights that begin at zero. So it predicts
    what `unet` does where zeros come from below and their norm has no bias. Only for a UNet whose first two levels are
    equally wide and whose first doesn't attend.
    """
    config: dict[str, Any] = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    widths = config["block_out_channels"]
    assert widths[0] == widths[1], "what comes from below is as wide as the level itself"
    assert "Attn" not in config["down_block_types"][0], "the first level doesn't attend"
    shape = {
        "block_out_channels": widths[:1],
        "down_block_types": config["down_block_types"][:1],
        "mid_block_type": None,
        "up_block_types": config["up_block_types"][-1:],
    }
    with unet.device:
        one = UNet2DConditionModel(**(config | shape))
    last = f"up_blocks.{len(widths) - 1}.resnets."
    weights = unet.state_dict()
    kept = {name: value for name, value in weights.items() if name.startswith(_KEPT)}
    kept |= {name.replace(last, "up_blocks.0.resnets."): value for name, value in weights.items() if last in name}
    nn.Module.to(one, dtype=unet.dtype).load_state_dict(kept)
    joining = one.up_blocks[0].resnets[0]  # pyright: ignore[reportIndexIssue]
    assert isinstance(joining, ResnetBlock2D), "levels are made of these"
    for layer in (joining.conv1, joining.conv_shortcut):
        assert layer is not None, "what it joins is wider than what it gives"
        layer.weight[:, : widths[0]] = 0
    return lay_out(one, unet.device)
