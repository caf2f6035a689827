"""What is unfolded, and sums with it, next to the layout of convolutions: the same values, laid out anew less often."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sdsr.exporting.layout import suit_blocks
from sdsr.quiet_runtimes import import_onnx_runtime

if TYPE_CHECKING:
    import onnx
    from onnx import ModelProto, NodeProto
else:
    onnx = pytest.importorskip("onnx")
WIDTH = 64  # a multiple of any processor's block
BLOCKS = 3


def chain() -> "ModelProto":
    """A decoder's beginning: the latent is unfolded, the photo's features are added, residual blocks follow."""
    rng = np.random.default_rng(0)
    tensors = []

    def convolved(given: str, result: str, before: int, after: int) -> "NodeProto":
        weight = rng.normal(0, 0.1, (after, before, 3, 3)).astype(np.float32)
        tensors.append(onnx.numpy_helper.from_array(weight, f"{result}.weight"))
        return onnx.helper.make_node("Conv", [given, f"{result}.weight"], [result], pads=[1, 1, 1, 1])

    make = onnx.helper.make_node
    nodes = [
        convolved("latent", "folded", 8, 4 * WIDTH),
        make("DepthToSpace", ["folded"], ["unfolded"], blocksize=2, mode="CRD"),
        convolved("photo", "seen", 16, WIDTH),
        make("Add", ["seen", "unfolded"], ["sum0"]),
    ]
    for index in range(BLOCKS):
        nodes += [convolved(f"sum{index}", f"conv{index}", WIDTH, WIDTH)]
        nodes += [make("Add", [f"sum{index}", f"conv{index}"], [f"sum{index + 1}"])]
    value = onnx.helper.make_tensor_value_info
    inputs = [value("latent", 1, [1, 8, "h", "w"]), value("photo", 1, [1, 16, "H", "W"])]
    result = value(f"sum{BLOCKS}", 1, [1, WIDTH, "H", "W"])
    graph = onnx.helper.make_graph(nodes, "chain", inputs, [result], tensors)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)


def run(model: "ModelProto", to: Path) -> tuple[np.ndarray, int]:
    """Return the output, and how many nodes lay tensors out anew when ONNX Runtime has optimized the graph."""
    runtime = import_onnx_runtime()
    options = runtime.SessionOptions()
    options.optimized_model_filepath = str(to)
    options.log_severity_level = 3
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    shapes = {"latent": (1, 8, 6, 10), "photo": (1, 16, 12, 20)}
    given = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return session.run(None, given)[0], sum(node.op_type.startswith("Reorder") for node in onnx.load(to).graph.node)


def test_sums_stay_in_blocks(tmp_path: Path) -> None:
    model = chain()
    expected, before = run(model, tmp_path / "before.onnx")
    suit_blocks(model)
    onnx.checker.check_model(model)
    found, after = run(model, tmp_path / "after.onnx")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    if before:  # on processors where it computes by blocks at all
        assert after < before


def kinds(model: "ModelProto") -> set[str]:
    return {node.op_type for node in model.graph.node}


def test_what_is_not_added_is_not_pooled() -> None:
    model = chain()
    model.graph.node[3].op_type = "Mul"
    suit_blocks(model)
    assert not kinds(model) & {"MaxPool", "DepthToSpace"}


def test_channels_that_are_used_elsewhere_keep_their_order(tmp_path: Path) -> None:
    model = chain()
    model.graph.node.append(onnx.helper.make_node("Neg", ["folded"], ["other"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("other", 1, [1, 4 * WIDTH, "h", "w"]))
    expected, _ = run(model, tmp_path / "before.onnx")
    suit_blocks(model)
    found, _ = run(model, tmp_path / "after.onnx")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert "DepthToSpace" in kinds(model)
