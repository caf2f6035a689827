"""Gradients of convolution weights by matrix products, for training in bfloat16 on a CPU.

There oneDNN (as of torch 2.13) takes a reference kernel for some shapes, small maps or few channels among them: 135 ms
instead of 4 for 160 channels on 8 x 8 cells. `bench/convolution_gradients.py` tells whether that is still so.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_BACKWARD = torch.ops.aten.convolution_backward.default


class MatrixProducts(TorchDispatchMode):
    """While it lasts, plain bfloat16 convolutions on the CPU get their weight gradients by `weight_gradient`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func is not _BACKWARD or not _is_ours(args):
            return func(*args, **(kwargs or {}))
        grown, given, weight, *_ = args
        stride, padding, (for_given, _, for_bias) = args[4], args[5], args[10]
        return (
            func(*args[:10], [True, False, False])[0] if for_given else None,
            weight_gradient(given, grown, weight.shape[-2:], stride=stride, padding=padding),
            grown.sum((0, 2, 3)) if for_bias else None,
        )


def weight_gradient(
    given: Float[Tensor, "b c h w"],
    grown: Float[Tensor, "b o rows columns"],
    size: tuple[int, int],
    *,
    stride: tuple[int, int] | list[int],
    padding: tuple[int, int] | list[int],
) -> Float[Tensor, "o c kh kw"]:
    """Return the gradient of a convolution's weight from its input and its output's gradient.

    One matrix product for each place of the kernel.
    """
    rows, columns = grown.shape[-2:]
    padded = F.pad(given, (padding[1], padding[1], padding[0], padding[0])).permute(0, 2, 3, 1)
    flat = grown.permute(0, 2, 3, 1).flatten(0, 2).T
    places = [
        flat
        @ padded[:, top : top + stride[0] * rows : stride[0], left : left + stride[1] * columns : stride[1]].flatten(
            0, 2
        )
        for top in range(size[0])
        for left in range(size[1])
    ]
    return torch.stack(places, dim=-1).unflatten(-1, size)


def _is_ours(args: tuple[Any, ...]) -> bool:
    """Whether a weight gradient is asked for, of a convolution that is neither dilated, transposed nor grouped."""
    grown, dilation, transposed, groups, wanted = args[0], args[6], args[7], args[9], args[10]
    plain = not transposed and groups == 1 and list(dilation) == [1, 1]
    return plain and wanted[1] and grown.device.type == "cpu" and grown.dtype == torch.bfloat16
