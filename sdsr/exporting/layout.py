"""A graph as suits the layout in which ONNX Runtime convolves: by blocks of channels, kept from node to node."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto


def keep_blocked(model: "ModelProto") -> None:
    """Let sums to which something unfolded (DepthToSpace) is added be computed by blocks of channels, too.

    They are where all their terms come in blocks, and what is unfolded doesn't: a chain of residual blocks that begins
    with it would be laid out anew twice a block. So it goes through a pooling of one pixel, which changes nothing and
    gives blocks.
    """
    from onnx import helper

    graph = model.graph
    added = {name for node in graph.node if node.op_type == "Add" for name in node.input}
    nodes = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type == "DepthToSpace" and node.output[0] in added:
            name = node.output[0]
            node.output[0] = f"{name}.unfolded"
            nodes.append(helper.make_node("MaxPool", [node.output[0]], [name], kernel_shape=[1, 1]))
    del graph.node[:]
    graph.node.extend(nodes)
