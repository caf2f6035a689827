"""A graph as suits the layout in which ONNX Runtime convolves: by blocks of channels, kept from node to node.

What is unfolded from channels to pixels (DepthToSpace), ONNX Runtime moves value by value, with one thread; here rows
of channels are moved, as its blocks have them side by side.
"""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


def suit_blocks(model: "ModelProto") -> None:
    """Unfold what was convolved by rows of channels, and compute sums to which it is added by blocks, too.

    Sums are where all their terms come in blocks, and what is unfolded doesn't: a chain of residual blocks that begins
    with it would be laid out anew twice a block. So it goes through a pooling of one pixel, which changes nothing and
    gives blocks. Outputs are the same, bit for bit.
    """
    from onnx import helper

    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    added = {name for node in graph.node if node.op_type == "Add" for name in node.input}
    ordered: list[NodeProto] = []
    nodes: list[NodeProto] = []
    for node in graph.node:
        name = node.output[0]
        if node.op_type == "DepthToSpace" and name in added:
            node.output[0] = f"{name}.unfolded"
        convolution = _convolved(node, makers, uses) if node.op_type == "DepthToSpace" else None
        if convolution is None:
            nodes.append(node)
        else:
            tensors, before, instead = _unfolding(node, convolution, _channels(model, convolution))
            graph.initializer.extend(tensors)
            ordered += before
            nodes += instead
        if node.output[0] != name:
            nodes.append(helper.make_node("MaxPool", [node.output[0]], [name], kernel_shape=[1, 1]))
    del graph.node[:]
    graph.node.extend(ordered + nodes)


def _convolved(node: "NodeProto", makers: Mapping[str, "NodeProto"], uses: Mapping[str, int]) -> "NodeProto | None":
    """Return the convolution whose channels a node alone unfolds, activated or not; None where there is none."""
    maker: NodeProto | None = node
    while maker is not None and (maker is node or maker.op_type == "LeakyRelu"):
        given = maker.input[0]
        maker = makers.get(given) if uses[given] == 1 else None
    return maker if maker is not None and maker.op_type == "Conv" else None


def _channels(model: "ModelProto", convolution: "NodeProto") -> int:
    weight = convolution.input[1]
    return next(tensor.dims[0] for tensor in model.graph.initializer if tensor.name == weight)


def _unfolding(
    node: "NodeProto", convolution: "NodeProto", channels: int
) -> "tuple[list[TensorProto], list[NodeProto], list[NodeProto]]":
    """Return tensors, nodes that put a convolution's channels in another order, and nodes in place of a DepthToSpace.

    In rows of channels, the columns of a cell lie beside each other already where they come first in that order.
    """
    from onnx import helper, numpy_helper

    name = node.output[0]
    (side,) = (each.i for each in node.attribute if each.name == "blocksize")
    width = channels // side**2
    order = np.arange(channels).reshape(width, side, side).transpose(2, 1, 0).reshape(-1)
    constants = {"order": order, "columns": [0, 0, -1, side, width], "rows": [1, 1, -1, 0, width], "first": [0]}
    tensors = [numpy_helper.from_array(np.array(value, np.int64), f"{name}.{key}") for key, value in constants.items()]
    before = []
    for index, given in enumerate(convolution.input[1:], 1):
        convolution.input[index] = f"{given}.ordered"
        before.append(helper.make_node("Gather", [given, f"{name}.order"], [f"{given}.ordered"], axis=0))
    steps = [
        ("Transpose", [], {"perm": [0, 2, 3, 1]}),
        ("Reshape", ["columns"], {}),  # (1, height, width of all, rows of a cell, channels)
        ("Transpose", [], {"perm": [0, 1, 3, 2, 4]}),
        ("Reshape", ["rows"], {}),
        ("Squeeze", ["first"], {}),
        ("Transpose", [], {"perm": [0, 3, 1, 2]}),
    ]
    names = [node.input[0], *(f"{name}.{index}" for index in range(1, len(steps))), name]
    instead = [
        helper.make_node(op, [names[index], *(f"{name}.{each}" for each in more)], [names[index + 1]], **attributes)
        for index, (op, more, attributes) in enumerate(steps)
    ]
    return tensors, before, instead
