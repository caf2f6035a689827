"""Convolutions as products of matrices, which on large maps and on small ones are faster than torch's own on the CPU.

**Large maps, by Winograd**: 3 x 3 kernels with fewer multiplications, F(m x m, 3 x 3) of arXiv:1509.09308. Tiles of
m + 2 values a side, overlapping by two, give m x m of the result. Both are polynomials, evaluated at 0, +-1, for m = 4
+-2, and infinity: there a convolution is a product, so that what is left to multiply are (m + 2)^2 plain matrices,
(tiles, channels in) by (channels in, channels out).

- float32: m = 4, a quarter of the multiplications. Results differ from the direct sum's by 1e-5 of their largest value.

**Small maps of very many channels, by one product** of each cell's neighborhood and the kernels. There torch takes as
long to bring the kernels into its own order, each time anew, as to multiply.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Matrix = tuple[tuple[float, ...], ...]

_BLOCK = 2**21
"""Values at the points that are made at once: few products, and their memory is soon used again."""
_LEAST_TILES = 64
"""Of a block, whatever its values: a product of fewer rows is slow."""
_PART = 2**22
"""Values of kernels at the points that are made at once for a map of one block: used once, from the cache."""

_MANY_CHANNELS = 1024
_CHANNELS_A_CELL = 3
"""A small map has at least as many channels for each cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Winograd:
    """F(tile x tile, 3 x 3): how maps come to the points, and what is multiplied there from them.

    `to_points` makes (b, h + 2, w + 2, c) maps (points^2, tiles, c), those across first; `multiply` makes of these and
    of (points^2, c, o) kernels the result's (tile^2, tiles, o) cells. `mapping`, `mapped` and `products` are values of
    a tile that are in use at once: for each channel in as it comes to the points, and when it is there; for each
    channel out. It serves where channels, and values of a map of the fewer ones, are at least as many.
    """

    tile: int
    kernel_to_points: Matrix
    to_points: Callable[[Tensor], Tensor]
    multiply: Callable[[Tensor, Tensor], Tensor]
    mapping: int
    mapped: int
    products: int
    least_channels: int
    least_values: int

    @property
    def points(self) -> int:
        """Return how many there are a side."""
        return self.tile + 2

    def serves(self, channels: int, cells: int) -> bool:
        """Tell whether it is faster for so many channels, the fewer of in and out, and cells of a map."""
        return channels >= self.least_channels and channels * cells >= self.least_values


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
"""B^T, G and A^T of the paper, for m = 4."""


def _at_points(padded: Tensor) -> Tensor:
    to_points = padded.new_tensor(_TO_POINTS)
    strips = padded.unfold(1, 6, 4).permute(4, 0, 1, 2, 3)  # 6, b, rows, w + 2, c
    down = (to_points @ strips.reshape(6, -1)).view(strips.shape)
    tiles = down.unfold(3, 6, 4).permute(5, 0, 1, 2, 3, 4)  # 6 across, 6 down, b, rows, columns, c
    return (to_points @ tiles.reshape(6, -1)).view(36, -1, padded.shape[3])


def _multiplied(at_map: Tensor, kernels: Tensor) -> Tensor:
    from_points = at_map.new_tensor(_FROM_POINTS)
    across = from_points @ (at_map @ kernels).view(6, -1)
    return from_points @ across.view(4, 6, -1)


F4 = Winograd(
    tile=4,
    kernel_to_points=_KERNEL_TO_POINTS,
    to_points=_at_points,
    multiply=_multiplied,
    mapping=16 + 24 + 2 * 36,  # padded, down, as they are gathered, transformed
    mapped=16 + 36,
    products=36 + 24,  # and what they become
    least_channels=128,
    least_values=2**18,
)


def algorithm_of(dtype: torch.dtype) -> Winograd:
    """Return the one whose rounding is small enough in a dtype."""
    return F4


def by_product(image: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the convolution of (b, c, h, w) with (o, c, 3, 3) kernels, padded by a zero on each side: (b, o, h, w).

    The result is channels_last.
    """
    padded = F.pad(image.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    around = padded.unfold(1, 3, 1).unfold(2, 3, 1).permute(0, 1, 2, 4, 5, 3)  # b, h, w, 3, 3, c
    weights = kernels.permute(0, 2, 3, 1).flatten(1)
    return F.linear(around.flatten(3), weights, bias).permute(0, 3, 1, 2)


def by_winograd(
    image: Tensor, kernels: Tensor, bias: Tensor | None = None, algorithm: Winograd | None = None
) -> Tensor:
    """Return the same, by Winograd's algorithm; None is that of the dtype."""
    way = algorithm or algorithm_of(image.dtype)
    (batch, channels, height, width), out = image.shape, kernels.shape[0]
    rows, columns = -(-height // way.tile), -(-width // way.tile)
    tiles = max(_BLOCK // (way.points**2 * max(channels, out)), _LEAST_TILES)
    block = way.tile * max(1, tiles // (batch * columns))
    result = image.new_empty(batch, rows * way.tile, columns * way.tile, out)
    in_parts = (transformed(part, way) for part in kernels.split(max(1, _PART // (way.points**2 * channels))))
    at_points = in_parts if block >= result.shape[1] else [transformed(kernels, way)]
    for top in range(0, result.shape[1], block):
        there = result[:, top : top + block]
        _convolve(way, _padded(image.permute(0, 2, 3, 1), top, *there.shape[1:3]), at_points, bias, there)
    return result[:, :height, :width].permute(0, 3, 1, 2)


def workspace_bytes(out: int, channels: int, dtype: torch.dtype) -> int:
    """Return what `by_winograd` has in use beside its result: kernels at the points, and what it makes of a block.

    Nothing where there are too few channels for it.
    """
    way = algorithm_of(dtype)
    if min(out, channels) < way.least_channels:
        return 0
    of_a_tile = max(way.mapping * channels, way.mapped * channels + way.products * out)
    block = _BLOCK * of_a_tile // (way.points**2 * max(out, channels))
    return dtype.itemsize * (way.points**2 * out * channels + block)


def transformed(kernels: Tensor, way: Winograd) -> Tensor:
    """Return (o, c, 3, 3) kernels at the points, those across first: (points^2, c, o)."""
    weights = kernels.new_tensor(way.kernel_to_points)
    both = torch.einsum("du,av->aduv", weights, weights).reshape(way.points**2, -1)
    return (both @ kernels.permute(0, 2, 3, 1).flatten(1, 2)).permute(1, 2, 0)


def _padded(cells: Tensor, top: int, height: int, width: int) -> Tensor:
    """Rows from `top` on of (b, h, w, c) maps, with one cell of what is around them, zero where there is none."""
    padded = cells.new_zeros(len(cells), height + 2, width + 2, cells.shape[3])
    first = max(top - 1, 0)
    rows = cells[:, first : top + height + 1]
    padded[:, first - top + 1 :, 1 : 1 + cells.shape[2]][:, : rows.shape[1]] = rows
    return padded


def _convolve(way: Winograd, padded: Tensor, at_points: Iterable[Tensor], bias: Tensor | None, result: Tensor) -> None:
    """Write the convolution of (b, h + 2, w + 2, c) maps to (b, h, w, o), whole tiles.

    The kernels are at the points, in parts of the channels out.
    """
    at_map = way.to_points(padded)
    batch, height, width = result.shape[:3]
    tiles = (batch, height // way.tile, way.tile, width // way.tile, way.tile, -1)
    out = 0
    for kernels in at_points:
        cells = way.multiply(at_map, kernels)
        part = slice(out, out + kernels.shape[2])
        there = result[..., part].view(tiles).permute(4, 2, 0, 1, 3, 5)
        if bias is None:
            there.copy_(cells.view(there.shape))
        else:
            torch.add(cells.view(there.shape), bias[part], out=there)
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
    if algorithm_of(input.dtype).serves(least, cells):
        return partial(by_winograd, input, weight, bias)
    return None
