import os
import sys
from types import SimpleNamespace

import pytest
import torch

from sdsr.errors import InputError, ModelError
from sdsr.metrics import perceptual
from sdsr.metrics.benchmark import score
from sdsr.metrics.protocol import PROTOCOLS


@pytest.fixture
def library(monkeypatch):
    """A stand-in for pyiqa whose measure is the mean absolute difference, or the mean."""
    seen = {}

    def create_metric(name, device):
        seen[name] = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
        if name == "dists":
            raise OSError("no network")
        return lambda result, truth=None: (result - (0 if truth is None else truth)).abs().mean()

    monkeypatch.setitem(sys.modules, "pyiqa", SimpleNamespace(create_metric=create_metric))
    perceptual._metric.cache_clear()
    yield seen
    perceptual._metric.cache_clear()


def test_measures_are_added_under_their_names(folders, library):
    protocol = perceptual.with_perceptual(PROTOCOLS["rgb"], ["lpips", "musiq"])
    assert protocol.name == "rgb+lpips+musiq"
    assert "pyiqa" in protocol.description
    scores = score(folders / "HR", folders / "HR", protocol=protocol)
    assert scores.values["lpips"].tolist() == [0, 0, 0]
    assert 0.2 < scores.values["musiq"][0] < 0.8
    assert list(score(folders / "HR", protocol=protocol).values) == ["musiq"]


def test_weights_are_unpickled_in_restricted_mode_only_then(library):
    perceptual.with_perceptual(PROTOCOLS["rgb"], ["musiq"])
    assert library == {"musiq": "1"}
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_torch_obeys_the_restriction(tmp_path):
    torch.save(SimpleNamespace(), tmp_path / "a.pt")
    with perceptual._restricted_unpickling(), pytest.raises(Exception, match="Unsupported global"):
        torch.load(tmp_path / "a.pt", weights_only=False)


def test_what_is_out_of_reach_is_a_model_error(library, monkeypatch):
    with pytest.raises(ModelError, match="no network"):
        perceptual.with_perceptual(PROTOCOLS["rgb"], ["dists"])
    with pytest.raises(InputError, match="lpips-vgg"):
        perceptual.with_perceptual(PROTOCOLS["rgb"], ["vmaf"])
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(ModelError, match="pip install pyiqa"):
        perceptual.with_perceptual(PROTOCOLS["rgb"], ["clipiqa"])
