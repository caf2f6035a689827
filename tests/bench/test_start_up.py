"""What the bench of starts stands on: its compact network, its table."""

import sys

import numpy as np
import pytest

from bench import start_up


def test_the_compact_network_enlarges_by_four_with_1_2_million_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    import onnxruntime

    graphs: list[bytes] = []
    open_ = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda graph, *rest, **named: graphs.append(graph) or open_(graph, *rest, **named),
    )
    session = start_up.compact()
    (result,) = session.run(None, {"image": np.zeros((1, 3, 6, 5), np.float32)})
    assert result.shape == (1, 3, 24, 20)
    (graph,) = graphs
    tensors = onnx.load_from_string(graph).graph.initializer
    assert sum(int(np.prod(tensor.dims)) for tensor in tensors) == pytest.approx(1.2e6, rel=0.03)


def test_a_child_is_timed_and_its_ratios_told() -> None:
    cpu, wall = start_up.timed([sys.executable, "-c", "import time; time.sleep(0.1)"])
    assert wall > 0.1
    assert cpu > 0
    rows = {"python -c pass": {"cpu": [0.1], "wall": [0.2]}, "import sdsr": {"cpu": [0.2, 0.3, 0.4], "wall": [1, 1, 1]}}
    table = start_up.table({"processor": "x", "cold": False, "rows": rows})
    assert "| import sdsr | 0.30 | 1.00 | 3.00 |" in table


def test_forgotten_files_are_still_there(tmp_path) -> None:
    (tmp_path / "file").write_text("still")
    start_up.forget([tmp_path / "file"])
    assert (tmp_path / "file").read_text() == "still"
