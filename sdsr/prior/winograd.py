"""Winograd's convolution: 3 x 3 kernels with a quarter of the multiplications, which torch does without on the CPU.

F(4x4, 3x3) of arXiv:1509.09308: 6 x 6 values of the map, overlapping by two, give 4 x 4 of the result. Both are
polynomials, evaluated at 0, +-1, +-2 and infinity: there a convolution is a product, so that what is left to multiply
are 36 plain matrices, (tiles, channels in) by (channels in, channels out), instead of 144. In float32 results differ
from the direct sum's by 1e-5 of their largest value.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_TILE = 4
_POINTS = 6
_BLOCK = 2**20
"""Values that are transformed at once, which a processor's cache holds."""

_LEAST_CHANNELS = 96
_LEAST_CELLS = 4
"""A map has at least as many cells for each channel, else the kernels' transform weighs more than what it gains."""


def convolve(image: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the convolution of (b, c, h, w) with (o, c, 3, 3) kernels, padded by a zero on each side: (b, o, h, w).

    The result is channels_last.
    """
    (batch, _, height, width), out = image.shape, kernels.shape[0]
    rows, columns = -(-height // _TILE), -(-width // _TILE)
    at_points = transformed(kernels)
    result = image.new_empty(batch, rows * _TILE, columns * _TILE, out)
    block = max(1, _BLOCK // (_POINTS**2 * columns * max(kernels.shape[:2])))
    for cells, whole in zip(image.permute(0, 2, 3, 1), result, strict=True):
        for top in range(0, rows, block):
            there = whole[top * _TILE : (top + block) * _TILE]
            _tiles(_padded(cells, top * _TILE, len(there), whole.shape[1]), at_points, there)
            if bias is not None:
                there += bias
    return result[:, :height, :width].permute(0, 3, 1, 2)


def transformed(kernels: Tensor) -> Tensor:
    """Return (o, c, 3, 3) kernels, as polynomials in both directions, at the 6 x 6 points: (36, c, o)."""
    out, channels = kernels.shape[:2]
    weights = kernels.new_tensor(
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ]
    )
    down = weights @ kernels.permute(2, 3, 1, 0).reshape(3, -1)
    return (weights @ down.view(_POINTS, 3, channels * out)).view(_POINTS**2, channels, out)


def _padded(cells: Tensor, top: int, height: int, width: int) -> Tensor:
    """Rows from `top` on of an (h, w, c) map, with one cell of its neighborhood around them, zero where it has none."""
    padded = cells.new_zeros(height + 2, width + 2, cells.shape[2])
    first = max(top - 1, 0)
    rows = cells[first : top + height + 1]
    padded[first - top + 1 :][: len(rows), 1 : 1 + cells.shape[1]] = rows
    return padded


def _tiles(padded: Tensor, at_points: Tensor, result: Tensor) -> None:
    """Write the convolution of an (h + 2, w + 2, c) map into `result`, (h, w, o), of whole tiles."""
    rows, columns = (side // _TILE for side in result.shape[:2])
    channels, out = at_points.shape[1:]
    down = padded.new_empty(_POINTS, rows, padded.shape[1], channels)
    _evaluate(lambda row: padded[row::_TILE][:rows], down)
    at_map = padded.new_empty(_POINTS, _POINTS, rows, columns, channels)
    _evaluate(lambda column: down[:, :, column::_TILE][:, :, :columns], at_map.transpose(0, 1))
    products = (at_map.view(_POINTS**2, -1, channels) @ at_points).view(_POINTS, _POINTS, rows, columns, out)
    across = padded.new_empty(_TILE, _POINTS, rows, columns, out)
    _interpolate(products, across)
    tiles = result.view(rows, _TILE, columns, _TILE, out)
    _interpolate(across.transpose(0, 1), [tiles[:, :, :, column].transpose(0, 1) for column in range(_TILE)])


def _evaluate(part: Callable[[int], Tensor], into: Tensor) -> None:
    """Write what six parts of a map are at the points into six tensors (B^T of the paper)."""
    d0, d1, d2, d3, d4, d5 = (part(index) for index in range(_POINTS))
    even, odd = d4 - d2, d3 - d1
    torch.add(even, odd, alpha=2, out=into[3])
    torch.sub(even, odd, alpha=2, out=into[4])
    torch.sub(d4, d2, alpha=4, out=even)
    torch.sub(d3, d1, alpha=4, out=odd)
    torch.add(even, odd, out=into[1])
    torch.sub(even, odd, out=into[2])
    torch.sub(d4, d2, alpha=5, out=into[0]).add_(d0, alpha=4)
    torch.sub(d5, d3, alpha=5, out=into[5]).add_(d1, alpha=4)


def _interpolate(values: Tensor, into: Sequence[Tensor] | Tensor) -> None:
    """Write the four values of the result that the products at the points make into four tensors (A^T of the paper)."""
    m0, m1, m2, m3, m4, m5 = values
    near, near_odd, far, far_odd = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    torch.add(near, far, out=into[0]).add_(m0)
    torch.add(near_odd, far_odd, alpha=2, out=into[1])
    torch.add(near, far, alpha=4, out=into[2])
    torch.add(near_odd, far_odd, alpha=8, out=into[3]).add_(m5)


class WinogradConvolution(TorchFunctionMode):
    """While it is entered, `F.conv2d` is `convolve` where that serves, whoever calls it.

    It serves inference in float32 on the CPU, 3 x 3 kernels on every cell of large maps of many channels.
    """

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        if func is torch.conv2d and _serves(*args, **(kwargs or {})):
            return convolve(*args[:3])
        return func(*args, **(kwargs or {}))


def _serves(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: int = 1,
) -> bool:
    everywhere = (
        weight.shape[2:] == (3, 3) and padding in (1, (1, 1)) and stride in (1, (1, 1)) and dilation in (1, (1, 1))
    )
    plain = input.dim() == 4 and groups == 1 and input.device.type == "cpu" and not torch.is_grad_enabled()
    single = input.dtype == weight.dtype == torch.float32
    return everywhere and plain and single and _pays(input.shape, weight.shape)


def _pays(image: Sequence[int], kernels: Sequence[int]) -> bool:
    channels = kernels[:2]
    return min(channels) >= _LEAST_CHANNELS and image[2] * image[3] >= _LEAST_CELLS * max(channels)
