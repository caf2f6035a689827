"""Which runtime of the graphs restores: by a probe, by what is kept of one, by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdsr import engines, kept_probes
from sdsr.engines import choose_runtime, load_model
from sdsr.errors import InputError, ModelError
from sdsr.graphs import probing
from sdsr.graphs.description import DETAILED, Description, read_graphs
from sdsr.graphs.probing import Probed, fastest, keep, machine, probe, recall
from sdsr.graphs.runtimes import REMEDIES, in_bfloat16, runtimes_here
from sdsr.graphs.sessions import Graph
from sdsr.jobs import JobMaker
from sdsr.models import DEFAULT_MODEL, find_model
from sdsr.photos.files import Photo
from sdsr.request import Request
from sdsr.restoration.restorer import Restorer

CPU = Probed(open_seconds=0.1, photo_seconds=1.0, difference=0.0)


@pytest.fixture(scope="module")
def description() -> Description:
    return read_graphs(find_model(DEFAULT_MODEL).folder)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept_probes, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def test_opening_counts_against_the_work() -> None:
    slow_to_open = Probed(open_seconds=3.0, photo_seconds=0.5, difference=0.01)
    probed: dict[Any, Probed] = {"onnx": CPU, "openvino": slow_to_open}
    assert [fastest(probed, photos) for photos in (1, 5, 6, 1000)] == ["onnx", "onnx", "openvino", "openvino"]


def test_another_result_is_not_taken_however_fast() -> None:
    for difference in (1.7, float("inf"), float("nan")):
        other = Probed(open_seconds=0.0, photo_seconds=0.001, difference=difference)
        assert fastest({"onnx": CPU, "coreml": other}, 1000) == "onnx"


def added(value: float) -> Mapping[str, Graph]:
    """Graphs that reduce a picture, leave it, and enlarge it again, with something added."""
    decode = Graph(run=lambda given: np.kron(given["latent"], np.ones((8, 8))) + value, inputs=("latent",))
    return {
        "encode": Graph(run=lambda given: given["image"][..., ::8, ::8], inputs=("image",)),
        "denoise": Graph(run=lambda given: given["noisy"], inputs=("noisy",)),
        "decode": decode,
        DETAILED: decode,
    }


def test_a_probe_holds_results_against_the_first(description: Description) -> None:
    def fails() -> Mapping[str, Graph]:
        raise ModelError("no such operator")

    found = probe({"onnx": lambda: added(0), "openvino": lambda: added(0.02), "coreml": fails}, description)
    assert [round(each.difference, 3) for each in found.values()] == [0, 5.1, float("inf")]
    assert found["onnx"].photo_seconds > 0
    assert fastest(found, 100) == "onnx"


def test_an_answer_is_kept_and_a_damaged_or_foreign_one_is_none(description: Description, cache: Path) -> None:
    key = machine(description, ("onnx", "openvino"))
    assert recall(key) is None
    probed: dict[Any, Probed] = {"onnx": CPU, "openvino": Probed(open_seconds=1.0, photo_seconds=0.5, difference=0.0)}
    keep(key, probed)
    assert recall(key) == probed
    assert recall(machine(description, ("onnx", "coreml"))) is None
    (file,) = cache.iterdir()
    whole = json.loads(file.read_text())
    for content in (
        "",
        "[]",
        "{}",
        file.read_text()[:-20],
        json.dumps(whole | {"key": {}}),
        json.dumps(whole | {"probed": {"onnx": whole["probed"]["onnx"]}}),
        json.dumps(whole | {"probed": whole["probed"] | {"openvino": {"open_seconds": "fast"}}}),
        json.dumps(whole | {"probed": whole["probed"] | {"openvino": whole["probed"]["onnx"] | {"difference": None}}}),
    ):
        file.write_text(content)
        assert recall(key) is None, content
        keep(key, probed)
        assert recall(key) == probed


def test_what_cannot_be_kept_is_warned_of(
    description: Description, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file, not a folder")
    keep(machine(description, ("onnx",)), {"onnx": CPU})
    assert "can't be kept" in caplog.text


def test_one_photo_is_not_probed_for_but_goes_by_what_is_known(
    description: Description, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = find_model(DEFAULT_MODEL).folder
    monkeypatch.setattr(engines, "runtimes_here", lambda: ("onnx",))
    assert choose_runtime(folder, description, 1000) == "onnx"
    assert not cache.exists()
    monkeypatch.setattr(engines, "runtimes_here", lambda: ("onnx", "coreml"))
    assert choose_runtime(folder, description, probing.PROBED_FROM - 1) == "onnx"
    assert not cache.exists()
    monkeypatch.setattr(engines, "open_in", lambda runtime, *_: added(0))
    assert choose_runtime(folder, description, probing.PROBED_FROM) in ("onnx", "coreml")
    key = machine(description, ("onnx", "coreml"))
    kept = recall(key)
    assert kept is not None
    assert set(kept) == {"onnx", "coreml"}
    keep(key, {"onnx": CPU, "coreml": Probed(open_seconds=0.0, photo_seconds=0.1, difference=0.5)})
    assert choose_runtime(folder, description, 1) == "coreml"


@pytest.mark.parametrize("runtime", REMEDIES)
def test_a_runtime_that_is_not_here_is_refused_with_its_remedy(runtime: Any) -> None:
    if runtime in runtimes_here():
        pytest.skip("it is here")
    with pytest.raises(InputError, match=rf"{runtime}.* isn't here"):
        load_model(engine=runtime)


def test_openvino_restores_the_same(by_graphs: JobMaker, photo: Photo) -> None:
    pytest.importorskip("openvino")
    request = Request(scale=1)
    one = by_graphs.upscale(photo, request).pixels.astype(int)
    other = load_model(engine="openvino").upscale(photo, request).pixels
    away = np.abs(one - other)
    assert away.max() <= 2
    assert np.count_nonzero(away > 1) <= (20e-6 * away.size if in_bfloat16("openvino") else 0)


def test_what_openvino_computes_in_bfloat16_is_tried_again_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(engines, "open_in", lambda runtime, *of: opened.append(runtime) or {})
    monkeypatch.setattr("sdsr.graphs.runtimes.processor_class", lambda: "AVX-512-BF16")
    load = load_model(engine="openvino").load_float32
    assert load is not None
    assert load().load_float32 is None
    assert opened == ["openvino", "onnx"]
    assert load_model(engine="onnx").load_float32 is None
    monkeypatch.setattr("sdsr.graphs.runtimes.processor_class", lambda: "AVX2")
    assert load_model(engine="openvino").load_float32 is None


@pytest.mark.parametrize("chosen", [torch.bfloat16, torch.float32])
def test_so_is_what_torch_computes_in_bfloat16(chosen: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdsr.prior.loading.choose_dtype", lambda device: chosen)
    maker = load_model("d3sr-small", engine="torch", device="cpu")
    assert dtype_of(maker) == chosen
    if chosen == torch.float32:
        assert maker.load_float32 is None
        return
    assert maker.load_float32 is not None
    assert dtype_of(maker.load_float32()) == torch.float32


def dtype_of(maker: JobMaker) -> torch.dtype:
    assert isinstance(maker.restorer, Restorer)
    return maker.restorer.prior.dtype
