"""InvSR's noise predictor (arXiv:2412.09013): from the LQ photo as it was given to a Gaussian over the start's noise.

Stock blocks of diffusers, assembled as published: a time-conditioned encoder that halves the photo once, so that a
photo enlarged 4 times meets its latent (8 px per cell) on one grid. Three of its seven attentions see every pixel, in
a photo of 128 px 16,384 tokens: most of its work.
"""

from dataclasses import dataclass

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_blocks import AttnDownBlock2D, DownBlock2D, UNetMidBlock2D
from torch import Tensor, nn
from torch.nn import functional as F

from sdsr.prior.attention import by_rows
from sdsr.prior.network_config import NetworkConfig
from sdsr.tensors import Image, Latent, Time

HALVING = 2
"""Pixels of the given photo per cell of the latent, along one side."""

_EPS = 1e-6
_LEAST_SINUSOIDS = 128
_LOG_VARIANCE_LIMITS = (-30.0, 20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """Independent normal distributions, one for each value of a latent."""

    mean: Latent
    log_variance: Latent

    def sample(self, standard: Latent) -> Latent:
        """Return the sample that standard normal noise becomes."""
        return self.mean + (0.5 * self.log_variance).exp() * standard


class NoisePredictor(nn.Module):
    """Predicts, for a photo in [0, 1] (sides even) and the start's time, the noise that the start state should hold.

    By default 33,837,576 parameters in 164 tensors with the published names. `attention` says which blocks attend: the
    two down blocks and the middle. `head_width` is the width of one attention head.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, int] = (256, 512),
        layers: int = 3,
        attention: tuple[bool, bool, bool] = (True, True, True),
        head_width: int = 64,
        norm_groups: int = 32,
        latent_channels: int = 4,
    ) -> None:
        super().__init__()
        sinusoids = max(_LEAST_SINUSOIDS, widths[0])
        embedded = widths[-1]
        common: NetworkConfig = {"temb_channels": embedded, "resnet_eps": _EPS, "resnet_groups": norm_groups}
        down = {**common, "num_layers": layers, "downsample_padding": 0}
        self.time_proj = Timesteps(sinusoids, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(sinusoids, embedded)
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            _attending(before, width, halves=first, head_width=head_width, settings=down)
            if attends
            else DownBlock2D(before, width, add_downsample=first, **down)
            for before, width, attends, first in zip(
                (widths[0], widths[0]), widths, attention[:2], (True, False), strict=True
            )
        )
        self.mid_block = UNetMidBlock2D(widths[-1], attention_head_dim=head_width, add_attention=attention[2], **common)
        self.conv_norm_out = nn.GroupNorm(norm_groups, widths[-1], eps=_EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * latent_channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, Attention):
                module.set_processor(RowwiseAttention())  # pyright: ignore[reportArgumentType]  (a closed list there)

    def forward(self, photo: Image, t: int | Time) -> Gaussian:
        times = torch.as_tensor(t, device=photo.device).expand(len(photo))
        embedding = self.time_embedding(self.time_proj(times).to(photo.dtype))
        x = self.conv_in(2 * photo - 1)
        for block in self.down_blocks:
            x, _ = block(x, embedding)
        x = self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x, embedding))))
        mean, log_variance = x.float().chunk(2, dim=1)
        return Gaussian(mean=mean, log_variance=log_variance.clamp(*_LOG_VARIANCE_LIMITS))


def _attending(before: int, width: int, *, halves: bool, head_width: int, settings: NetworkConfig) -> AttnDownBlock2D:
    shape = {**settings, "downsample_type": "conv" if halves else None}  # None: none, which diffusers doesn't annotate
    return AttnDownBlock2D(before, width, attention_head_dim=head_width, **shape)


class RowwiseAttention:
    """The blocks' self-attention (a processor of diffusers' `Attention`): torch's own, or a faster one on a CPU.

    Whole rows of the map (`prior/attention.py`), over the 8,192 tokens that it attends to, take 0.6 of the time. They
    round scores to bfloat16, so they serve inference in that dtype only.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        assert encoder_hidden_states is None, "the predictor's layers attend to themselves"
        assert attention_mask is None, "the predictor's layers attend to everything"
        tokens = attn.get_submodule("group_norm")(hidden_states.flatten(2)).mT
        query, key, value = (
            attn.get_submodule(name)(tokens).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for name in ("to_q", "to_k", "to_v")
        )
        rowwise = query.device.type == "cpu" and query.dtype == torch.bfloat16 and not torch.is_grad_enabled()
        attended = (by_rows if rowwise else F.scaled_dot_product_attention)(query, key, value)
        out = attn.get_submodule("to_out.0")(attended.transpose(1, 2).flatten(2))
        return hidden_states + out.mT.unflatten(-1, hidden_states.shape[-2:])
