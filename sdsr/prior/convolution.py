"""Convolutions as products of matrices, which on large maps and on small ones are faster than torch's own on the CPU.

**Large maps, by Winograd**: 3 x 3 kernels with a quarter of the multiplications. F(4x4, 3x3) of arXiv:1509.09308: 6 x 6
values of the map, overlapping by two, give 4 x 4 of the result. Both are polynomials, evaluated at 0, +-1, +-2 and
infinity: there a convolution is a product, so that what is left to multiply are 36 plain matrices, (tiles, channels in)
by (channels in, channels out), instead of 144. In float32 results differ from the direct sum's by 1e-5 of their largest
value.

**Small maps of very many channels, by one product** of each cell's neighborhood and the kernels. There torch takes as
long to bring the kernels into its own order, each time anew, as to multiply.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_TILE = 4
_POINTS = 6
_BLOCK = 2**20
"""Values that are transformed at once, which a processor's cache holds."""

_LEAST_CHANNELS = 96
_LEAST_CELLS = 3
"""A large map has at least as many cells for each channel, else the kernels' transform weighs more than it gains."""

_MANY_CHANNELS = 1024
_CHANNELS_A_CELL = 3
"""A small map has at least as many channels for each cell."""

Convolution = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def by_product(image: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the convolution of (b, c, h, w) with (o, c, 3, 3) kernels, padded by a zero on each side: (b, o, h, w).

    The result is channels_last.
    """
    padded = F.pad(image.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    around = padded.unfold(1, 3, 1).unfold(2, 3, 1).permute(0, 1, 2, 4, 5, 3)  # b, h, w, 3, 3, c
    weights = kernels.permute(0, 2, 3, 1).flatten(1)
    return F.linear(around.flatten(3), weights, bias).permute(0, 3, 1, 2)


def by_winograd(image: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the same, by Winograd's algorithm."""
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


class ConvolutionByProducts(TorchFunctionMode):
    """While it is entered, `F.conv2d` is `by_winograd` or `by_product` where one of them serves, whoever calls it.

    They serve inference in float32 on the CPU, with 3 x 3 kernels on every cell.
    """

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        way = _way(*args, **(kwargs or {})) if func is torch.conv2d else None
        return func(*args, **(kwargs or {})) if way is None else way(*args[:3])


def _way(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: int = 1,
) -> Convolution | None:
    once = stride in (1, (1, 1)) and padding in (1, (1, 1)) and dilation in (1, (1, 1)) and groups == 1
    single = input.device.type == "cpu" and input.dtype == weight.dtype == torch.float32
    if not (once and single) or weight.shape[2:] != (3, 3) or input.dim() != 4 or torch.is_grad_enabled():
        return None
    cells, (least, most) = input.shape[2] * input.shape[3], sorted(weight.shape[:2])
    if least >= _LEAST_CHANNELS and cells >= _LEAST_CELLS * most:
        return by_winograd
    if least >= _MANY_CHANNELS and least >= _CHANNELS_A_CELL * cells:
        return by_product
    return None
