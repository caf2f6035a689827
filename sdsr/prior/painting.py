"""What decoders paint with: residual blocks, and an end from features at H/4 to pixels that has no grid to unlearn."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1


class Block(nn.Module):
    """Two convolutions beside the identity, which is nearly all of it at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        scale(self.conv2, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.leaky_relu(self.conv1(x), SLOPE))


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
            even(layer)
        scale(self.out, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_shuffle(F.leaky_relu(self.to_half(x), SLOPE), 2)
        x = F.leaky_relu(self.at_half(x), SLOPE)
        x = F.pixel_shuffle(F.leaky_relu(self.to_full(x), SLOPE), 2)
        return self.out(F.leaky_relu(self.at_full(x), SLOPE)).float()


@torch.no_grad()
def scale(layer: nn.Conv2d, factor: float) -> None:
    """Begin with weights that much smaller, and no bias."""
    layer.weight.mul_(factor)
    assert layer.bias is not None, "these layers have biases"
    layer.bias.zero_()


@torch.no_grad()
def even(layer: nn.Conv2d) -> None:
    """Begin with one kernel for the four pixels of a cell (arXiv:1707.02937): there is no grid to unlearn."""
    layer.weight.copy_(layer.weight[::4].repeat_interleave(4, dim=0))
    assert layer.bias is not None, "these layers have biases"
    layer.bias.copy_(layer.bias[::4].repeat_interleave(4))
