"""Real-ESRGAN's generator x4plus (arXiv:2107.10833), frozen: a teacher whose crisp results a training step aims at.

Facts of the architecture and names of the tensors are those of its published checkpoints (BSD-3-Clause, Xintao Wang;
the notice stands in the card of every model trained by it). It is used in training only; nothing of it is shipped.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdsr.data.degradation import LowImage
from sdsr.prior.weight_files import below, fill, read_tensors
from sdsr.tensors import Image

WIDTH = 64
GROWTH = 32
BLOCKS = 23
_SLOPE = 0.2
_WRAPPERS = ("params_ema.", "params.")


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees what all before it gave; the last is added to the input, scaled by 0.2."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.conv1 = _conv(width, growth)
        self.conv2 = _conv(width + growth, growth)
        self.conv3 = _conv(width + 2 * growth, growth)
        self.conv4 = _conv(width + 3 * growth, growth)
        self.conv5 = _conv(width + 4 * growth, width)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            features.append(F.leaky_relu(layer(torch.cat(features, dim=1)), _SLOPE))
        return x + 0.2 * self.conv5(torch.cat(features, dim=1))


class ResidualDenseBlocks(nn.Module):
    """Three dense blocks, added to the input, scaled by 0.2."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(width, growth)
        self.rdb2 = DenseBlock(width, growth)
        self.rdb3 = DenseBlock(width, growth)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


class RealEsrgan(nn.Module):
    """LQ (b, 3, h, w) in [0, 1] -> Image (b, 3, 4h, 4w) in [0, 1]."""

    def __init__(self, *, width: int = WIDTH, growth: int = GROWTH, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.conv_first = _conv(3, width)
        self.body = nn.Sequential(*(ResidualDenseBlocks(width, growth) for _ in range(blocks)))
        self.conv_body = _conv(width, width)
        self.conv_up1 = _conv(width, width)
        self.conv_up2 = _conv(width, width)
        self.conv_hr = _conv(width, width)
        self.conv_last = _conv(width, 3)

    def forward(self, lq: LowImage) -> Image:
        x = self.conv_first(lq)
        x = x + self.conv_body(self.body(x))
        for layer in (self.conv_up1, self.conv_up2):
            x = F.leaky_relu(layer(F.interpolate(x, scale_factor=2.0)), _SLOPE)
        return self.conv_last(F.leaky_relu(self.conv_hr(x), _SLOPE)).clamp(0, 1)


def load_real_esrgan(path: Path) -> RealEsrgan:
    """Return the frozen network of a file in the published layout, safetensors or .pth, of any width and depth.

    Raises ModelError where the file is missing, damaged, or of another network.
    """
    tensors = _unwrapped(read_tensors(path))
    network = RealEsrgan(**_shape(tensors))
    fill(network, tensors, path)
    return network.eval().requires_grad_(False)


def _shape(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The network's settings, as far as the tensors tell them; `fill` names what doesn't fit."""
    numbers = [int(name.split(".")[1]) for name in tensors if name.startswith("body.")]
    first = tensors.get("conv_first.weight")
    grown = tensors.get("body.0.rdb1.conv1.weight")
    return {
        "width": WIDTH if first is None else first.shape[0],
        "growth": GROWTH if grown is None else grown.shape[0],
        "blocks": max(numbers, default=BLOCKS - 1) + 1,
    }


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the name that BasicSR's checkpoints put around all tensors; the averaged ones, where both are there."""
    for wrapper in _WRAPPERS:
        if chosen := below(tensors, wrapper):
            return chosen
    return dict(tensors)


def _conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)
