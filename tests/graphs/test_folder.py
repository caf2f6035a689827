"""Folders of graphs: what they say, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdsr import engines
from sdsr.engines import choose_engine, load_model, open_model
from sdsr.errors import InputError, ModelError
from sdsr.graphs.description import DESCRIPTION, DETAILED, read_graphs
from sdsr.models import DEFAULT_MODEL, find_model
from sdsr.photos.photo import Photo
from sdsr.request import Request

ASSETS = Path(engines.__file__).parent / "assets"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded default, whose graphs are of a model that anyone may change."""
    return shutil.copytree(ASSETS / DEFAULT_MODEL, tmp_path / "model")


def change(folder: Path, **facts: Any) -> None:
    path = folder / DESCRIPTION
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | facts))


def test_the_embedded_graphs_are_those_of_the_embedded_weights() -> None:
    """Where this fails, the default was trained again: `sdsr export --onnx d3sr-small --to` its folder."""
    found = find_model(DEFAULT_MODEL)
    description = read_graphs(found.folder)
    assert description.weights_sha256 == found.weights_sha256
    assert json.loads(description.to_json()) == json.loads((found.folder / DESCRIPTION).read_text())


def test_no_weight_is_stored_in_a_graph() -> None:
    found = find_model(DEFAULT_MODEL)
    assert sum(path.stat().st_size for path in found.folder.glob("*.onnx")) < 300_000


def test_a_folder_restores_like_the_embedded_one(folder: Path) -> None:
    assert load_model(folder, engine="onnx").name == DEFAULT_MODEL


def test_a_folder_of_before_its_detailed_end_had_a_graph_restores_the_same(folder: Path, photo: Photo) -> None:
    request = Request(scale=2, fidelity=0)
    by_one_end = load_model(folder, engine="onnx").job(photo, request).run()
    graphs = dict(read_graphs(folder).graphs)
    del graphs[DETAILED]
    change(folder, graphs=graphs)
    assert read_graphs(folder).decoding(0.0) == "decode"
    by_both = load_model(folder, engine="onnx").job(photo, request).run()
    assert np.abs(by_both.pixels.astype(int) - by_one_end.pixels).max() <= 1


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"format": 2}, "format .* must be 1"),
        ({"canvas": {"kernel": "magic"}}, "incomplete"),
        ({"color_fix": "magic"}, "unknown"),
        ({"time": None, "surprise": 1}, "incomplete"),
        ({"weights_sha256": "0"}, "other weights"),
        ({"time": 499}, "other weights"),
        ({"weights": {"unet.safetensors": "0"}}, "sha256 differs"),
        ({"weights": {"magic.safetensors": "0"}}, "isn't in"),
    ],
)
def test_what_is_not_as_described_is_refused(folder: Path, facts: dict[str, Any], said: str) -> None:
    change(folder, **facts)
    with pytest.raises(ModelError, match=said):
        open_model(find_model(folder))


def test_damaged_files_are_refused(folder: Path) -> None:
    (folder / "encode.onnx").write_bytes(b"magic")
    with pytest.raises(ModelError, match=r"encode\.onnx.*sha256 differs"):
        open_model(find_model(folder))
    (folder / DESCRIPTION).write_text("{")
    with pytest.raises(ModelError, match="can't be read"):
        open_model(find_model(folder))
    (folder / DESCRIPTION).unlink()
    with pytest.raises(ModelError, match="--engine torch"):
        open_model(find_model(folder))


def test_graphs_restore_where_the_cpu_does(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_model(DEFAULT_MODEL)
    monkeypatch.setattr(engines, "_accelerated", lambda: False)
    assert choose_engine(found) == choose_engine(found, device="cpu") == "onnx"
    assert choose_engine(found, device="mps") == choose_engine(found, prior="small") == "torch"
    assert choose_engine(find_model("stablesr-small")) == "torch"
    monkeypatch.setattr(engines, "_accelerated", lambda: True)
    assert choose_engine(found) == "torch"
    assert choose_engine(found, device="cpu") == "onnx"


@pytest.mark.parametrize(
    ("version", "drivers", "accelerated"),
    [
        ("2.13.0+cpu", ("/",), False),
        ("2.13.0", ("/",), True),
        ("2.13.0+cu130", (), False),
        ("2.13.0+xpu", (), True),
    ],
)
def test_an_accelerator_is_looked_for_without_torch(
    monkeypatch: pytest.MonkeyPatch, version: str, drivers: tuple[str, ...], accelerated: bool
) -> None:
    monkeypatch.setattr(engines, "version_of", lambda _: version)
    monkeypatch.setattr(engines, "_DRIVERS", drivers)
    monkeypatch.setattr(engines.sys, "platform", "linux")
    assert engines._accelerated() == accelerated


def test_without_torch_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "version_of", lambda _: None)
    assert not engines._accelerated()


def test_what_graphs_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match="prior"):
        load_model(DEFAULT_MODEL, engine="onnx", prior="tiny")
    with pytest.raises(InputError, match="device"):
        load_model(DEFAULT_MODEL, engine="onnx", device="mps")
    with pytest.raises(InputError, match="graphs are computed by onnx"):
        load_model(DEFAULT_MODEL, engine="onnx", offload="model")
    with pytest.raises(ModelError, match="has no graphs"):
        load_model("stablesr-small", engine="onnx")
