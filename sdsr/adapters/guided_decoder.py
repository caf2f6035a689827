"""A decoder of guessed latents that sees the LQ photo: no basis functions of a transform, most of its work at H/4.

A one-step method guesses its latent, and what its autoencoder paints for a wrong guess the eye finds at once (combs
along edges, where the autoencoder is a block transform). This network decodes with the photo beside the latent: the
enlarged photo is folded onto cells of 4 px (nothing of it is lost, whatever the scale), the latent is unfolded onto the
same cells, residual blocks work there, and convolutions at H/2 and at H smooth what unfolding leaves. It adds to the
enlarged photo, so that an untrained one gives back the photo itself.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdsr.tensors import Image, Latent

FOLD_PX = 4
LATENT_PX = 8
_SLOPE = 0.1


class Block(nn.Module):
    """Two convolutions beside the identity, which is nearly all of it at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        _scale(self.conv2, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.leaky_relu(self.conv1(x), _SLOPE))


class End(nn.Module):
    """From features at H/4, (b, width, H/4, W/4), to three channels at H, in float32; `widths` are those at H/2 and H.

    After each unfolding a convolution smooths; what unfolds begins with one kernel for the four pixels of a cell.
    """

    def __init__(self, width: int, widths: tuple[int, int]) -> None:
        super().__init__()
        half, full = widths
        self.to_half = nn.Conv2d(width, 4 * half, 3, padding=1)
        self.at_half = nn.Conv2d(half, half, 3, padding=1)
        self.to_full = nn.Conv2d(half, 4 * full, 3, padding=1)
        self.at_full = nn.Conv2d(full, full, 3, padding=1)
        self.out = nn.Conv2d(full, 3, 3, padding=1)
        for layer in (self.to_half, self.to_full):
            _even(layer)
        _scale(self.out, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_shuffle(F.leaky_relu(self.to_half(x), _SLOPE), 2)
        x = F.leaky_relu(self.at_half(x), _SLOPE)
        x = F.pixel_shuffle(F.leaky_relu(self.to_full(x), _SLOPE), 2)
        return self.out(F.leaky_relu(self.at_full(x), _SLOPE)).float()


@torch.no_grad()
def _scale(layer: nn.Conv2d, factor: float) -> None:
    """Begin with weights that much smaller, and no bias."""
    layer.weight.mul_(factor)
    assert layer.bias is not None, "these layers have biases"
    layer.bias.zero_()


@torch.no_grad()
def _even(layer: nn.Conv2d) -> None:
    """Begin with one kernel for the four pixels of a cell (arXiv:1707.02937): there is no grid to unlearn."""
    layer.weight.copy_(layer.weight[::4].repeat_interleave(4, dim=0))
    assert layer.bias is not None, "these layers have biases"
    layer.bias.copy_(layer.bias[::4].repeat_interleave(4))


class GuidedDecoder(nn.Module):
    """Latent (b, channels, H/8, W/8) and enlarged LQ photo (b, 3, H, W) in [0, 1] -> Image, not clamped.

    `width` and `blocks` are those of the residual blocks at H/4; `widths` the channels at H/2 and at H. There are two
    ends: "detailed", which losses of realism train, and "faithful", which pixels alone train afterwards on the same
    features. `fidelity` mixes them, 1 is faithful.
    """

    def __init__(self, channels: int, *, width: int = 64, blocks: int = 10, widths: tuple[int, int] = (32, 16)) -> None:
        super().__init__()
        self.from_photo = nn.Conv2d(3 * FOLD_PX**2, width, 3, padding=1)
        self.from_latent = nn.Conv2d(channels, 4 * width, 3, padding=1) if channels else None
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.gathered = nn.Conv2d(width, width, 3, padding=1)
        self.detailed = End(width, widths)
        self.faithful = End(width, widths)

    @property
    def halo_px(self) -> int:
        """Pixels of context beyond which an output pixel depends on nothing."""
        return LATENT_PX + FOLD_PX * (2 * len(self.blocks) + 3) + 2 * 2 + 2

    def forward(self, latent: Latent, enlarged: Image, fidelity: float = 0.0) -> Image:
        features = self.features(latent, enlarged)
        ends = [(1 - fidelity, self.detailed), (fidelity, self.faithful)]
        return enlarged + sum(share * end(features) for share, end in ends if share)

    def features(self, latent: Latent, enlarged: Image) -> Tensor:
        """What both ends paint from, (b, width, H/4, W/4)."""
        x = self.from_photo(F.pixel_unshuffle(2 * enlarged - 1, FOLD_PX))
        if self.from_latent is not None:
            x = x + F.pixel_shuffle(self.from_latent(latent), LATENT_PX // FOLD_PX)
        first = x
        for block in self.blocks:
            x = block(x)
        return first + self.gathered(x)
