"""Convolutions as products of matrices, which on large maps and on small ones are faster than torch's own on the CPU.

**Large maps, by Winograd**: 3 x 3 kernels with fewer multiplications, F(m x m, 3 x 3) of arXiv:1509.09308. Tiles of
m + 2 values a side, overlapping by two, give m x m of the result. Both are polynomials, evaluated at 0, +-1, for m = 4
+-2, and infinity: there a convolution is a product, so that what is left to multiply are (m + 2)^2 plain matrices,
(tiles, channels in) by (channels in, channels out).

- float32: m = 4, a quarter of the multiplications. Results differ from the direct sum's by 1e-5 of their largest value.
- bfloat16: m = 2, four ninths, as constants of a larger m would lose too much. What comes to the points is rounded, and
  so are products, so that an error is four times the direct sum's, whose result alone is. What that makes of networks'
  outputs `python bench/rounding.py` tells.

**Small maps of very many channels, by one product** of each cell's neighborhood and the kernels. There torch takes as
long to bring the kernels into its own order, each time anew, as to multiply.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Matrix = tuple[tuple[float, ...], ...]

_BLOCK = 2**23
"""Bytes at the points that are made at once: few products, and their memory is soon used again."""
_LEAST_TILES = 64
"""Of a block, whatever its values: a product of fewer rows is slow."""
_PART = 2**22
"""Values of kernels at the points that are made at once for a map of one block: used once, from the cache."""

_TAPS = 9
_MANY_CHANNELS = 1024
_CHANNELS_A_CELL = {torch.float32: 3, torch.bfloat16: 16}
"""A small map has at least as many channels for each cell."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Named memory that blocks use in turn: sums take less time than being the first to write to new pages."""

    dtype: torch.dtype
    memory: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, name: str, *shape: int) -> Tensor:
        """Return a tensor of whatever is there."""
        if name not in self.memory or len(self.memory[name]) < prod(shape):
            self.memory.pop(name, None)
            self.memory[name] = torch.empty(prod(shape), dtype=self.dtype)
        return self.memory[name][: prod(shape)].view(shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Winograd:
    """F(tile x tile, 3 x 3): how maps come to the points, and what is multiplied there from them.

    `to_points` makes (b, h + 2, w + 2, c) maps (points^2, tiles, c), those across first; `multiply` makes of these and
    of (points^2, c, o) kernels the result's (tile^2, tiles, o) cells. `values` are a tile's in each memory of the
    workspace, for each channel in, or for each channel out. It serves where channels, and values of a map of the fewer
    ones, are at least as many.
    """

    tile: int
    kernel_to_points: Matrix
    to_points: Callable[[Tensor, Workspace], Tensor]
    multiply: Callable[[Tensor, Tensor, Workspace], Tensor]
    values: Mapping[str, tuple[int, int]]
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

_KERNEL_TO_FOUR_POINTS = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
_FROM_FOUR_POINTS = ((1.0, 1.0, 1.0, 0.0), (0.0, 1.0, -1.0, -1.0))
"""G and A^T for m = 2."""


def _at_points(padded: Tensor, workspace: Workspace) -> Tensor:
    to_points = padded.new_tensor(_TO_POINTS)
    strips = padded.unfold(1, 6, 4).permute(4, 0, 1, 2, 3)  # 6, b, rows, w + 2, c
    down = workspace("map", *strips.shape)
    torch.mm(to_points, workspace("products", *strips.shape).copy_(strips).view(6, -1), out=down.view(6, -1))
    tiles = down.unfold(3, 6, 4).permute(5, 0, 1, 2, 3, 4)  # 6 across, 6 down, b, rows, columns, c
    gathered = workspace("products", *tiles.shape).copy_(tiles)
    at_map = workspace("map", *tiles.shape)
    torch.mm(to_points, gathered.view(6, -1), out=at_map.view(6, -1))
    return at_map.view(36, -1, padded.shape[3])


def _multiplied(at_map: Tensor, kernels: Tensor, workspace: Workspace) -> Tensor:
    from_points = at_map.new_tensor(_FROM_POINTS)
    products = workspace("products", *at_map.shape[:2], kernels.shape[2])
    torch.bmm(at_map, kernels, out=products)
    across = workspace("cells", 4, 6, products[:6].numel() // 6)
    torch.mm(from_points, products.view(6, -1), out=across.view(4, -1))
    cells = workspace("products", 4, 4, across.shape[2])
    return torch.bmm(from_points.expand(4, 4, 6), across, out=cells)


F4 = Winograd(
    tile=4,
    kernel_to_points=_KERNEL_TO_POINTS,
    to_points=_at_points,
    multiply=_multiplied,
    values={"map": (36, 0), "products": (36, 36), "cells": (16, 24)},
    least_channels=128,
    least_values=2**18,
)


def _at_points_by_sums(padded: Tensor, workspace: Workspace) -> Tensor:
    down = _strips_at_points(padded, 1, workspace, "products")
    return _strips_at_points(down, 3, workspace, "map").view(16, -1, padded.shape[3])


def _strips_at_points(values: Tensor, dim: int, workspace: Workspace, name: str) -> Tensor:
    """Return strips of four values along a dimension, overlapping by two, at the four points: first of all."""
    strips = values.unfold(dim, 4, 2).movedim(-1, 0)
    at_points = workspace(name, *strips.shape)
    torch.sub(strips[:2], strips[2:], out=at_points[::3])
    signs = values.new_tensor((1.0, -1.0)).view(2, *[1] * values.dim())
    torch.addcmul(strips[2], strips[1], signs, out=at_points[1:3])
    return at_points


def _multiplied_by_sums(at_map: Tensor, kernels: Tensor, workspace: Workspace) -> Tensor:
    products = workspace("products", *at_map.shape[:2], kernels.shape[2])
    torch.bmm(at_map, kernels, out=products)
    from_points = at_map.new_tensor(_FROM_FOUR_POINTS)
    both = torch.einsum("iu,jv->ijuv", from_points, from_points).reshape(4, 16)
    cells = workspace("cells", 4, products[0].numel())
    return torch.mm(both, products.view(16, -1), out=cells)  # in one product, which rounds once


F2 = Winograd(
    tile=2,
    kernel_to_points=_KERNEL_TO_FOUR_POINTS,
    to_points=_at_points_by_sums,
    multiply=_multiplied_by_sums,
    values={"map": (16, 0), "products": (8, 16), "cells": (4, 4)},
    least_channels=256,
    least_values=2**19,
)


def algorithm_of(dtype: torch.dtype) -> Winograd:
    """Return the one whose rounding is small enough in a dtype."""
    return F2 if dtype == torch.bfloat16 else F4


def by_product(image: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the convolution of (b, c, h, w) with (o, c, 3, 3) kernels, padded by a zero on each side: (b, o, h, w).

    The result is channels_last.
    """
    padded = F.pad(image.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    around = padded.unfold(1, 3, 1).unfold(2, 3, 1).permute(0, 1, 2, 4, 5, 3)  # b, h, w, 3, 3, c
    weights = kernels.permute(0, 2, 3, 1).flatten(1)
    return F.linear(around.flatten(3), weights, bias).permute(0, 3, 1, 2)


def by_winograd(
    image: Tensor,
    kernels: Tensor,
    bias: Tensor | None = None,
    *,
    algorithm: Winograd | None = None,
    workspace: Workspace | None = None,
) -> Tensor:
    """Return the same, by Winograd's algorithm; None is that of the dtype, and a workspace for this time."""
    way = algorithm or algorithm_of(image.dtype)
    memory = workspace or Workspace(image.dtype)
    (batch, channels, height, width), out = image.shape, kernels.shape[0]
    rows, columns = -(-height // way.tile), -(-width // way.tile)
    rows_at_once = max(1, _tiles_at_once(way, out, channels, image.itemsize) // (batch * columns))
    result = image.new_empty(batch, rows * way.tile, columns * way.tile, out)
    in_parts = (transformed(part, way, memory) for part in kernels.split(max(1, _PART // (way.points**2 * channels))))
    at_points = in_parts if rows_at_once >= rows else [transformed(kernels, way, memory)]
    for name, (each, other) in way.values.items():
        memory(name, batch * min(rows, rows_at_once) * columns, max(each * channels, other * out))
    for top in range(0, result.shape[1], rows_at_once * way.tile):
        there = result[:, top : top + rows_at_once * way.tile]
        padded = _padded(image.permute(0, 2, 3, 1), top, there.shape[1], there.shape[2], memory)
        _convolve(way, padded, at_points, bias, there, memory)
    return result[:, :height, :width].permute(0, 3, 1, 2)


def workspace_bytes(out: int, channels: int, dtype: torch.dtype) -> int:
    """Return what `by_winograd` has in use beside its result: kernels at the points, and what it makes of a block.

    Nothing where there are too few channels for it.
    """
    way = algorithm_of(dtype)
    if min(out, channels) < way.least_channels:
        return 0
    tiles = _tiles_at_once(way, out, channels, dtype.itemsize)
    values = {name: tiles * max(each * channels, other * out) for name, (each, other) in way.values.items()}
    if dtype == torch.bfloat16:
        values["products"] = max(values["products"], _TAPS * out * channels)
    return dtype.itemsize * (way.points**2 * out * channels + sum(values.values()))


def _tiles_at_once(way: Winograd, out: int, channels: int, itemsize: int) -> int:
    return max(_BLOCK // (way.points**2 * max(channels, out) * itemsize), _LEAST_TILES)


def transformed(kernels: Tensor, way: Winograd, workspace: Workspace) -> Tensor:
    """Return (o, c, 3, 3) kernels at the points, those across first: (points^2, c, o)."""
    weights = kernels.new_tensor(way.kernel_to_points)
    both = torch.einsum("du,av->aduv", weights, weights).reshape(way.points**2, -1)
    if kernels.dtype != torch.bfloat16:
        return (both @ kernels.permute(0, 2, 3, 1).flatten(1, 2)).permute(1, 2, 0)
    out, channels = kernels.shape[:2]  # oneDNN would bring them into this order for each product
    taps = workspace("products", _TAPS, out, channels)
    taps.view(3, 3, out, channels).copy_(kernels.permute(2, 3, 0, 1))
    at_points = workspace("kernels", way.points**2, out * channels)
    return torch.mm(both, taps.view(_TAPS, -1), out=at_points).view(-1, out, channels).mT


def _padded(cells: Tensor, top: int, height: int, width: int, workspace: Workspace) -> Tensor:
    """Rows from `top` on of (b, h, w, c) maps, with one cell of what is around them, zero where there is none."""
    padded = workspace("cells", len(cells), height + 2, width + 2, cells.shape[3]).zero_()
    first = max(top - 1, 0)
    rows = cells[:, first : top + height + 1]
    padded[:, first - top + 1 :, 1 : 1 + cells.shape[2]][:, : rows.shape[1]] = rows
    return padded


def _convolve(
    way: Winograd,
    padded: Tensor,
    at_points: Iterable[Tensor],
    bias: Tensor | None,
    result: Tensor,
    workspace: Workspace,
) -> None:
    """Write the convolution of (b, h + 2, w + 2, c) maps to (b, h, w, o), whole tiles.

    The kernels are at the points, in parts of the channels out.
    """
    at_map = way.to_points(padded, workspace)
    batch, height, width = result.shape[:3]
    tiles = (batch, height // way.tile, way.tile, width // way.tile, way.tile, -1)
    out = 0
    for kernels in at_points:
        cells = way.multiply(at_map, kernels, workspace)
        part = slice(out, out + kernels.shape[2])
        there = result[..., part].view(tiles).permute(4, 2, 0, 1, 3, 5)
        if bias is None:
            there.copy_(cells.view(there.shape))
        else:
            torch.add(cells.view(there.shape), bias[part], out=there)
        out = part.stop


class ConvolutionByProducts(TorchFunctionMode):
    """While it is entered, `F.conv2d` is `by_winograd` or `by_product` where one of them serves, whoever calls it.

    They serve inference in one dtype on the CPU, with 3 x 3 kernels on every cell.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._workspace = Workspace(dtype)

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        way = _way(self._workspace, *args, **(kwargs or {})) if func is torch.conv2d else None
        return func(*args, **(kwargs or {})) if way is None else way()


def _way(
    workspace: Workspace,
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
    given = [each for each in (input, weight, bias) if each is not None]
    ours = all(each.device.type == "cpu" and each.dtype == workspace.dtype for each in given)
    maps = input.dim() == 4 and len(input) > 0 and weight.shape[2:] == (3, 3)
    if not (once and ours and maps) or torch.is_grad_enabled():
        return None
    cells, least = input.shape[2] * input.shape[3], min(weight.shape[:2])
    if least >= _MANY_CHANNELS and least >= _CHANNELS_A_CELL[workspace.dtype] * cells:
        return partial(by_product, input, weight, bias)
    if algorithm_of(workspace.dtype).serves(least, cells):
        return partial(by_winograd, input, weight, bias, workspace=workspace)
    return None
