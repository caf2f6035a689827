"""Convolutions as products of matrices, which on large maps and on small ones are faster than torch's own on the CPU.

**Large maps, by Winograd**: 3 x 3 kernels with a quarter of the multiplications. F(4x4, 3x3) of arXiv:1509.09308: 6 x 6
values of the map, overlapping by two, give 4 x 4 of the result. Both are polynomials, evaluated at 0, +-1, +-2 and
infinity: there a convolution is a product, so that what is left to multiply are 36 plain matrices, (tiles, channels in)
by (channels in, channels out), instead of 144. In float32 results differ from the direct sum's by 1e-5 of their largest
value.

**Small maps of very many channels, by one product** of each cell's neighborhood and the kernels. There torch takes as
long to bring the kernels into its own order, each time anew, as to multiply.
"""

from collections.abc import Callable, Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_TILE = 4
_POINTS = 6
_BLOCK = 2**21
"""Values at the points that are made at once: few products, and their memory is soon used again."""
_LEAST_TILES = 64
"""Of a block, whatever its values: a product of fewer rows is slow."""
_PART = 2**22
"""Values of kernels at the points that are made at once for a map of one block: used once, from the cache."""

_TO_POINTS = (
    (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
    (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
    (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
    (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
)
_KERNEL_TO_POINTS = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
_FROM_POINTS = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
    (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
    (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
)
"""B^T, G and A^T of the paper."""

_LEAST_CHANNELS = 128
_LEAST_VALUES = 2**18
"""A large map has at least so many values, else the transforms weigh more than is gained."""

_MANY_CHANNELS = 1024
_CHANNELS_A_CELL = 3
"""A small map has at least as many channels for each cell."""


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
    (batch, channels, height, width), out = image.shape, kernels.shape[0]
    rows, columns = -(-height // _TILE), -(-width // _TILE)
    tiles = max(_BLOCK // (_POINTS**2 * max(channels, out)), _LEAST_TILES)
    block = _TILE * max(1, tiles // (batch * columns))
    result = image.new_empty(batch, rows * _TILE, columns * _TILE, out)
    in_parts = map(transformed, kernels.split(max(1, _PART // (_POINTS**2 * channels))))
    at_points = in_parts if block >= result.shape[1] else [transformed(kernels)]
    for top in range(0, result.shape[1], block):
        there = result[:, top : top + block]
        _convolve(_padded(image.permute(0, 2, 3, 1), top, *there.shape[1:3]), at_points, bias, there)
    return result[:, :height, :width].permute(0, 3, 1, 2)


def workspace_bytes(out: int, channels: int) -> int:
    """Return what `by_winograd` has in use beside its result: kernels at the points, and what it makes of a block.

    Of a tile's 36 values at the points these are, for each channel in, 16 padded, 24 down, and 36 twice, as they are
    gathered and transformed; or these once, with 36 products and 24 of what they become for each channel `out`. Nothing
    where there are too few channels for it.
    """
    if min(out, channels) < _LEAST_CHANNELS:
        return 0
    of_a_tile = max((16 + 24 + 2 * 36) * channels, (16 + 24 + 36) * channels + (36 + 24) * out)
    block = _BLOCK * of_a_tile // (_POINTS**2 * max(out, channels))
    return 4 * (_POINTS**2 * out * channels + block)


def transformed(kernels: Tensor) -> Tensor:
    """Return (o, c, 3, 3) kernels at the 6 x 6 points, those across first: (36, c, o)."""
    weights = kernels.new_tensor(_KERNEL_TO_POINTS)
    both = torch.einsum("du,av->aduv", weights, weights).reshape(_POINTS**2, -1)
    return (both @ kernels.permute(0, 2, 3, 1).flatten(1, 2)).permute(1, 2, 0)


def _padded(cells: Tensor, top: int, height: int, width: int) -> Tensor:
    """Rows from `top` on of (b, h, w, c) maps, with one cell of what is around them, zero where there is none."""
    padded = cells.new_zeros(len(cells), height + 2, width + 2, cells.shape[3])
    first = max(top - 1, 0)
    rows = cells[:, first : top + height + 1]
    padded[:, first - top + 1 :, 1 : 1 + cells.shape[2]][:, : rows.shape[1]] = rows
    return padded


def _convolve(padded: Tensor, at_points: Iterable[Tensor], bias: Tensor | None, result: Tensor) -> None:
    """Write the convolution of (b, h + 2, w + 2, c) maps to (b, h, w, o), whole tiles.

    The kernels are at the points, in parts of the channels out.
    """
    to_points, from_points = padded.new_tensor(_TO_POINTS), padded.new_tensor(_FROM_POINTS)
    strips = padded.unfold(1, _POINTS, _TILE).permute(4, 0, 1, 2, 3)  # 6, b, rows, w + 2, c
    down = (to_points @ strips.reshape(_POINTS, -1)).view(strips.shape)
    tiles = down.unfold(3, _POINTS, _TILE).permute(5, 0, 1, 2, 3, 4)  # 6 across, 6 down, b, rows, columns, c
    batch, rows, columns, channels = tiles.shape[2:]
    at_map = (to_points @ tiles.reshape(_POINTS, -1)).view(_POINTS**2, -1, channels)
    out = 0
    for kernels in at_points:
        across = from_points @ (at_map @ kernels).view(_POINTS, -1)
        cells = (from_points @ across.view(_TILE, _POINTS, -1)).view(_TILE, _TILE, batch, rows, columns, -1)
        part = slice(out, out + kernels.shape[2])
        if bias is not None:
            cells += bias[part]
        there = result[..., part].view(batch, rows, _TILE, columns, _TILE, -1)
        there.copy_(cells.permute(2, 3, 1, 4, 0, 5))
        out = part.stop


class ConvolutionByProducts(TorchFunctionMode):
    """While it is entered, `F.conv2d` is `by_winograd` or `by_product` where one of them serves, whoever calls it.

    They serve inference in float32 on the CPU, with 3 x 3 kernels on every cell.
    """

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        way = _way(*args, **(kwargs or {})) if func is torch.conv2d else None
        return func(*args, **(kwargs or {})) if way is None else way()


def _way(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: int = 1,
) -> Callable[[], Tensor] | None:
    """Return another way to compute the same; None where none is faster."""
    once = stride in (1, (1, 1)) and padding in (1, (1, 1)) and dilation in (1, (1, 1)) and groups == 1
    single = input.device.type == "cpu" and input.dtype == weight.dtype == torch.float32
    maps = input.dim() == 4 and len(input) > 0 and weight.shape[2:] == (3, 3)
    if not (once and single and maps) or torch.is_grad_enabled():
        return None
    cells, least = input.shape[2] * input.shape[3], min(weight.shape[:2])
    if least >= _MANY_CHANNELS and least >= _CHANNELS_A_CELL * cells:
        return partial(by_product, input, weight, bias)
    if least >= _LEAST_CHANNELS and least * cells >= _LEAST_VALUES:
        return partial(by_winograd, input, weight, bias)
    return None
