"""A small one-step model, exported and restored by: what its graphs hold, and what can't be exported."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sdsr.checkpoints.weights import fill_restorer, save_method
from sdsr.cli.export import export
from sdsr.engines import open_model
from sdsr.errors import InputError
from sdsr.exporting import graphs
from sdsr.exporting.linking import link, stored_tensors
from sdsr.exporting.modules import ExportedParts, parts_of
from sdsr.graphs.description import DETAILED, NAMES
from sdsr.methods import METHODS
from sdsr.methods.guided_decoding import DecoderSettings
from sdsr.methods.one_step.small import SmallOneStep
from sdsr.models import find_model
from sdsr.photos.photo import Photo
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.prior.small_storage import fresh_small_prior, load_small_prior, save_small_prior
from sdsr.request import Request
from sdsr.restoration.restorer import Restorer
from sdsr.upscaling import Upscaler

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
RECIPE = replace(METHODS["d3sr-small"], method=SmallOneStep(decoder=DecoderSettings(width=8, blocks=1)))
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 28, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a tiny prior and of a method on it, random but for halves."""
    root = tmp_path_factory.mktemp("exported")
    autoencoder = SmallAutoencoder(4, (8, 8, 8), (1, 1, 1))
    for parameter in autoencoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(parameter.numel()))
    save_small_prior(fresh_small_prior(autoencoder, widths=(32, 32)), root / "prior")
    assert RECIPE.method is not None
    restorer = RECIPE.method.build(load_small_prior(root / "prior", name=str(root / "prior")))
    noted = {"method": {"decoder.width": 8, "decoder.blocks": 1}}
    save_method(restorer, root / "model", RECIPE, noted)
    return root / "prior", root / "model"


@pytest.mark.slow
def test_a_model_is_exported_with_its_weights_and_restores_like_torch(
    model: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prior, folder = model
    export(tmp_path / "alone", onnx=str(folder), prior=str(prior))
    assert "d3sr-small as graphs" in capsys.readouterr().out
    photo = Photo(pixels=PIXELS)
    recipe = find_model(folder).recipe()
    assert recipe.method is not None
    restorer = recipe.method.build(load_small_prior(prior))
    fill_restorer(restorer, folder)
    for fidelity in (0, 0.6):
        request = Request(scale=2, color_fix="none", fidelity=fidelity)
        by_torch = Upscaler(recipe, restorer).upscale(photo, request)
        by_graphs = open_model(find_model(tmp_path / "alone")).job(photo, request).run()
        assert np.abs(by_graphs.pixels.astype(int) - by_torch.pixels).max() <= 1
    assert max(path.stat().st_size for path in (tmp_path / "alone").glob("*.onnx")) < 200_000
    onnx.checker.check_model(tmp_path / "alone" / "denoise.onnx")

    def written(parts: ExportedParts, restorer: Restorer, to: Path, weights: Sequence[Path]) -> set[str]:
        for path in (tmp_path / "alone").glob("*.onnx"):
            shutil.copy(path, to)
        return {"unet.safetensors", "autoencoder.safetensors"}

    monkeypatch.setattr(graphs, "write_graphs", written)  # which takes seconds
    own = shutil.copytree(folder, tmp_path / "own")
    export(own, onnx=str(own), prior=str(prior), overwrite=True)
    added = {path.name for path in own.iterdir()} - {path.name for path in folder.iterdir()}
    assert {path.stem for path in own.glob("*.onnx")} == {*NAMES, DETAILED}
    assert added == {*(f"{name}.onnx" for name in (*NAMES, DETAILED)), "graphs.json", "autoencoder.safetensors"}


def test_only_one_step_from_the_photo_is_exported() -> None:
    for name in ("stablesr-small", "addsr-small"):
        recipe = METHODS[name]
        assert recipe.method is not None
        with pytest.raises(InputError, match="only methods of one step"):
            parts_of(recipe.method.build("tiny"), recipe.method.own_plan, name)


def test_a_model_and_a_run_are_not_exported_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave RECIPE"):
        export(tmp_path, recipe="d3sr-small", onnx="d3sr-small")
    with pytest.raises(InputError, match="--onnx"):
        export(tmp_path, recipe="d3sr-small")


def test_weights_are_linked_by_their_values(tmp_path: Path) -> None:
    """As halves, in 8 bits, in float32 and turned; what no file has, and what is tiny, stays in the graph."""
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    half = rng.standard_normal((8, 20)).astype(np.float16)
    full = rng.standard_normal((16, 5)).astype(np.float32)
    integers = rng.integers(-127, 128, (12, 24), np.int8)
    scale = rng.random(12).astype(np.float32)
    in_eight = {"c": integers, "c_scale": scale}
    save_file({"a": half, "b": full, **in_eight, "tiny": np.ones(4, np.float32)}, tmp_path / "w.safetensors")
    eight = integers * scale[:, None]
    given = {
        "half": half.astype(np.float32),
        "turned": np.ascontiguousarray(half.T.astype(np.float32)),
        "full": full,
        "eight": eight,
        "eight_turned": np.ascontiguousarray(eight.T),
        "unknown": rng.standard_normal((9, 9)).astype(np.float32),
        "tiny": np.ones(4, np.float32),
    }
    outputs = [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None) for name in given]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in given]
    tensors = [numpy_helper.from_array(values, name) for name, values in given.items()]
    proto = helper.make_model(
        helper.make_graph(nodes, "g", [], outputs, tensors), opset_imports=[helper.make_opsetid("", 18)]
    )
    assert link(proto, stored_tensors(tmp_path / "w.safetensors")) == {"w.safetensors"}
    external = {tensor.name for tensor in proto.graph.initializer if tensor.data_location == TensorProto.EXTERNAL}
    scales = {"eight.scale", "eight_turned.scale"}
    assert external == {"half.stored1", "turned.stored2", "full", "eight.stored2", "eight_turned.stored3", *scales}
    (tmp_path / "g.onnx").write_bytes(proto.SerializeToString())
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    for values, result in zip(given.values(), session.run(None, {}), strict=True):
        np.testing.assert_array_equal(values, result)
