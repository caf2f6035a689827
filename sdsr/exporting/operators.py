"""Torch's operators as they stand in a graph, where ONNX Runtime computes that faster than what torch's exporter has.

Arguments are torch's; tensors are those of onnxscript, whose sides are numbers where they are known.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch


def fold(image: Any, downscale_factor: int) -> Any:
    """Return `pixel_unshuffle` of an image: cells are folded at once, then whole planes are put in order.

    By slices, of which there is one for each channel: OpenVINO 2026.4 computes something else where a Gather of
    channels stands before a convolution.
    """
    operators = _operators()
    folded = operators.SpaceToDepth(image, blocksize=downscale_factor)
    channels = image.shape[1]
    end, axis, step = (operators.Constant(value_ints=[each]) for each in (channels * downscale_factor**2, 1, channels))
    planes = [
        operators.Slice(folded, operators.Constant(value_ints=[channel]), end, axis, step)
        for channel in range(channels)
    ]
    return operators.Concat(*planes, axis=1)


def attend(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Return `scaled_dot_product_attention`, head by head where tokens are a picture's cells.

    Memory is taken for one head's map then; new pages of memory for those of all take longer than their softmax.
    """
    assert attn_mask is None, "a UNet attends to all"
    assert not any((dropout_p, is_causal, enable_gqa)), "each head of a UNet has keys of its own"
    operators = _operators()
    heads = 1 if isinstance(key.shape[2], int) else query.shape[1]
    root = operators.Constant(value_float=(scale or query.shape[3] ** -0.5) ** 0.5)  # for each side, as in torch
    parts = [[each] if heads == 1 else operators.Split(each, axis=1, num_outputs=heads) for each in (query, key, value)]
    mixed = []
    for one_query, one_key, one_value in zip(*parts, strict=True):
        keys = operators.Mul(operators.Transpose(one_key, perm=[0, 1, 3, 2]), root)
        likeness = operators.MatMul(operators.Mul(one_query, root), keys)
        mixed.append(operators.MatMul(operators.Softmax(likeness, axis=-1), one_value))
    return mixed[0] if heads == 1 else operators.Concat(*mixed, axis=1)


def _operators() -> Any:
    """Return ONNX's operators, which are typed as if each gave nothing or anything."""
    from onnxscript import opset18

    return opset18


OPERATORS: Mapping[Callable[..., object], Callable[..., object]] = {
    torch.ops.aten.pixel_unshuffle.default: fold,
    torch.ops.aten.scaled_dot_product_attention.default: attend,
}
