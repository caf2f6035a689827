"""InvSR's discriminator (arXiv:2412.09013): a text-conditional UNet on clean latents, heard and fed at every level."""

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from sdsr.prior.network_config import NetworkConfig
from sdsr.tensors import Latent, Time, Tokens

LAYERS = (1, 2, 2)
FAKE_LIMIT = 10.0
"""The published trainer clamps the restored latent, not the real one, to this magnitude before it is judged."""


class LatentUnetDiscriminator(nn.Module):
    """Logits per place, high for real, of the mid block and of each up block: for 64x64 latents at 16, 32, 64 and 64.

    It starts from random weights. `t` is the time the generator started from, `context` its prompt. State has the
    published names; 112,082,532 parameters by default.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, int, int] = (128, 256, 512),
        attention_heads: tuple[int, int, int] = (8, 16, 16),
        context_width: int = 1024,
        norm_groups: int = 32,
        pooling_heads: int = 64,
        latent_channels: int = 4,
    ) -> None:
        super().__init__()
        settings: NetworkConfig = {
            "in_channels": latent_channels,
            "block_out_channels": widths,
            "layers_per_block": LAYERS,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "attention_head_dim": attention_heads,  # the number of heads, by a misnomer of diffusers
            "cross_attention_dim": context_width,
            "norm_num_groups": norm_groups,
            "addition_embed_type": "text",
            "addition_embed_type_num_heads": pooling_heads,
        }
        unet = UNet2DConditionModel(**settings)
        self.conv_in = unet.conv_in
        self.feature_in = nn.Conv2d(latent_channels, norm_groups, 3, padding=1)
        self.time_proj = unet.time_proj
        self.time_embedding = unet.time_embedding
        self.add_embedding = unet.add_embedding
        self.down_blocks = unet.down_blocks
        self.mid_block = unet.mid_block
        self.up_blocks = unet.up_blocks
        for block, before, width in zip(self.down_blocks, (widths[0], *widths), widths, strict=False):
            wider = ResnetBlock2D(
                in_channels=before + norm_groups,
                out_channels=width,
                temb_channels=4 * widths[0],
                groups=norm_groups,
                eps=1e-5,
            )
            block.get_submodule("resnets").register_module("0", wider)
        self.out_blocks = nn.ModuleList(_head(width, norm_groups) for width in (widths[-1], *reversed(widths)))

    def forward(self, latent: Latent, t: Time, context: Tokens) -> list[Tensor]:
        embedding = self.time_embedding(self.time_proj(t).to(latent.dtype)) + self.add_embedding(context)
        x = self.conv_in(latent)
        again = self.feature_in(latent)
        skips: list[Tensor] = [x]
        for block in self.down_blocks:
            x = torch.cat((x, F.interpolate(again, x.shape[-2:], mode="bicubic")), dim=1)
            x, outputs = block(hidden_states=x, temb=embedding, **_listening(block, context))
            skips.extend(outputs)
        x = self.mid_block(x, embedding, **_listening(self.mid_block, context))
        maps = [x]
        for block, layers in zip(self.up_blocks, reversed(LAYERS), strict=True):
            own = tuple(skips[-layers - 1 :])
            del skips[-layers - 1 :]
            size = skips[-1].shape[-2:] if skips else None
            x = block(x, own, embedding, upsample_size=size, **_listening(block, context))
            maps.append(x)
        return [head(map_) for head, map_ in zip(self.out_blocks, maps, strict=True)]


def _listening(block: nn.Module, context: Tokens) -> dict[str, Tensor]:
    return {"encoder_hidden_states": context} if getattr(block, "has_cross_attention", False) else {}


def _head(width: int, norm_groups: int) -> nn.Sequential:
    groups = min(norm_groups, width // 4)
    return nn.Sequential(
        nn.GroupNorm(groups, width, eps=1e-5),
        nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.GroupNorm(groups, width, eps=1e-5),
        nn.SiLU(),
        nn.Conv2d(width, 1, 3, padding=1),
    )
