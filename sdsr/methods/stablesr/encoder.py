"""StableSR's time-aware encoder: half a UNet over the LQ latent, told the time, that makes the SFT features.

arXiv:2305.07015 and its published code. At full size: 52,494,080 parameters.
"""

from dataclasses import dataclass

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_blocks import AttnDownBlock2D, DownBlock2D, UNetMidBlock2D
from torch import Tensor, nn

from sdsr.prior.network_config import NetworkConfig
from sdsr.tensors import Latent, Time

_EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSettings:
    """The shape of a time-aware encoder; the defaults are those published.

    `widths`: channels of the levels, of which the UNet has as many. `blocks`: residual blocks of a level.
    `attention_at`: the factors of downsampling at which self-attention with `heads` follows each of them; the middle
    always has one. `map_channels`: channels of each map. `groups`: those of all normalisations. `time_aware` False
    gives the variant that it is compared with, which is not told the time.
    """

    widths: tuple[int, ...] = (256, 256, 512, 512)
    blocks: int = 2
    attention_at: tuple[int, ...] = (1, 2, 4)
    heads: int = 4
    map_channels: int = 256
    groups: int = 32
    time_aware: bool = True


class TimeAwareEncoder(nn.Module):
    """LQ latent and time -> SFT features by factor of downsampling (1, 2, 4, ...), one for each level.

    As published, residual blocks and attention add nothing at first.
    """

    def __init__(self, latent_channels: int = 4, settings: EncoderSettings | None = None) -> None:
        super().__init__()
        settings = settings or EncoderSettings()
        widths = settings.widths
        first = settings.widths[0]
        times = 4 * first
        told: NetworkConfig = {"temb_channels": times if settings.time_aware else None}
        blocks: NetworkConfig = {**told, "resnet_eps": _EPSILON, "resnet_groups": settings.groups}
        outputs = {**told, "eps": _EPSILON, "groups": settings.groups, "out_channels": settings.map_channels}
        self.time_proj = Timesteps(first, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(first, times) if settings.time_aware else None
        self.conv_in = nn.Conv2d(latent_channels, first, 3, padding=1)
        self.down_blocks = nn.ModuleList(_level(index, settings, blocks) for index in range(len(widths)))
        self.mid_block = UNetMidBlock2D(widths[-1], attention_head_dim=widths[-1] // settings.heads, **blocks)
        self.outputs = nn.ModuleList(ResnetBlock2D(in_channels=width, **outputs) for width in widths)
        self.apply(_silence)

    def forward(self, latent: Latent, t: int | Time) -> dict[int, Tensor]:
        """Return the SFT features, (b, map_channels, h / factor, w / factor), sizes rounded up."""
        told = self._embed(latent, t)
        hidden = self.conv_in(latent)
        features = []
        for block in self.down_blocks[:-1]:
            hidden, states = block(hidden, told)
            features.append(states[-2])  # before the downsampling layer, whose output comes last
        hidden, _ = self.down_blocks[-1](hidden, told)
        features.append(self.mid_block(hidden, told))
        sft_features = (output(feature, told) for output, feature in zip(self.outputs, features, strict=True))
        return {2**level: each for level, each in enumerate(sft_features)}

    def _embed(self, latent: Latent, t: int | Time) -> Tensor | None:
        if self.time_embedding is None:
            return None
        times = torch.as_tensor(t, device=latent.device).expand(len(latent))
        return self.time_embedding(self.time_proj(times).to(latent.dtype))


def _level(index: int, settings: EncoderSettings, common: NetworkConfig) -> nn.Module:
    """The residual blocks of one level and, but for the last, what makes its output half as large."""
    before = settings.widths[max(index - 1, 0)]
    width = settings.widths[index]
    last = index == len(settings.widths) - 1
    blocks = {**common, "in_channels": before, "out_channels": width, "num_layers": settings.blocks}
    if 2**index in settings.attention_at:
        kind = "none" if last else "conv"
        return AttnDownBlock2D(**blocks, attention_head_dim=width // settings.heads, downsample_type=kind)
    return DownBlock2D(**blocks, add_downsample=not last)


def _silence(module: nn.Module) -> None:
    """Let what a residual block or attention adds be zero at first."""
    match module:
        case ResnetBlock2D():
            path = "conv2"
        case Attention():
            path = "to_out.0"
        case _:
            return
    for kind in ("weight", "bias"):
        nn.init.zeros_(module.get_submodule(path).get_parameter(kind))
