"""What stands for torch's operators in graphs of any size gives what they give."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdsr.exporting.graphs import _exported
from sdsr.method_folders import ASSETS
from sdsr.quiet_runtimes import import_onnx_runtime

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")


class Attending(nn.Module):
    """Cells of 4 px attend to all cells with 2 heads, then to 5 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(1, 2, 5, 24, generator=torch.Generator().manual_seed(0)))

    def forward(self, image: Tensor) -> Tensor:
        cells = F.pixel_unshuffle(image, 4)
        heads = cells.flatten(2).unflatten(1, (2, 24)).mT
        seen = F.scaled_dot_product_attention(heads, 2 * heads, heads)
        told = F.scaled_dot_product_attention(seen, self.tokens, self.tokens, scale=0.3)
        return told.mT.reshape(cells.shape) + cells


@pytest.mark.slow
def test_folding_and_attention_are_those_of_torch() -> None:
    module = Attending()
    model = _exported(module, {"image": torch.zeros(1, 3, 96, 160)})
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("SpaceToDepth") == 1
    assert kinds.count("Softmax") == 2 + 1  # the first attention's is that of one head
    session = import_onnx_runtime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).normal(size=(1, 3, 32, 48)).astype(np.float32)
    found = session.run(None, {"image": image})[0]
    np.testing.assert_allclose(found, module(torch.from_numpy(image)).detach().numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["encode", "denoise", "decode", "decode_detailed"])
def test_no_convolution_is_given_channels_that_were_gathered(name: str) -> None:
    """OpenVINO 2026.4 takes such a Gather into the kernels, and computes something else."""
    import onnx

    graph = onnx.load(ASSETS / "d3sr-small" / f"{name}.onnx", load_external_data=False).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    given = {makers.get(node.input[0], "input") for node in graph.node if node.op_type == "Conv"}
    assert given
    assert "Gather" not in given
