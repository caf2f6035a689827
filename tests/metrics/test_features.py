"""`features` on the package's weights, and beside the script that this project's issues measure with."""

import importlib.util
import json
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image as PillowImage
from typer.testing import CliRunner

from sdsr.cli.evaluate import evaluate
from sdsr.errors import ModelError
from sdsr.images.floats import levels_as_image
from sdsr.losses import efficientnet
from sdsr.metrics import features as module
from sdsr.metrics.benchmark import score, score_pairs
from sdsr.metrics.edges import edge_width
from sdsr.metrics.features import feature_distance, object_distance, with_features
from sdsr.metrics.pairs import pair_folders, read_pixels
from sdsr.metrics.planes import plane
from sdsr.metrics.protocol import PROTOCOLS

SHARED = Path(__file__).parents[3] / "shared"
REALSR = SHARED / "data" / "realsr"
TOOL = SHARED / "tools" / "features.py"


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    return np.asarray(PillowImage.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).resize((96, 96))) * 1.0


def test_equal_is_0_and_blur_is_worse_the_stronger_it_is(picture):
    assert feature_distance(picture, picture) == pytest.approx(0, abs=2e-4)
    photo = PillowImage.fromarray(picture.astype(np.uint8))
    softened = [np.asarray(photo.resize((side, side)).resize((96, 96))) * 1.0 for side in (48, 24, 12)]
    found = [feature_distance(each, picture) for each in softened]
    assert 0 < found[0] < found[1] < found[2] < 1


def test_objects_ignore_contrast_and_see_what_is_moved(picture):
    paler = 128 + 0.9 * (picture - 128)
    moved = np.roll(picture, 24, axis=1)
    assert object_distance(picture, picture) == pytest.approx(0, abs=2e-4)
    assert object_distance(paler, picture) < 0.25 * object_distance(moved, picture)


def test_the_protocol_names_it_and_processes_agree(folders):
    protocol = with_features(PROTOCOLS["realisr-y"])
    assert protocol.name == "realisr-y+features"
    pairs = pair_folders(folders / "out", folders / "HR")
    scores = score_pairs(pairs, protocol)
    assert next(iter(scores.values)) == "features"
    assert list(scores.values)[1] == "objects"
    assert (scores.values["features"] > 0.01).all()
    assert score(folders / "HR", folders / "HR", protocol=protocol).of(protocol.measures[0]) == pytest.approx(
        0, abs=2e-4
    )


def test_the_command_adds_the_column_or_names_the_extra(folders, monkeypatch):
    app = typer.Typer()
    app.command()(evaluate)
    run = partial(CliRunner().invoke, app, [str(folders / "out"), str(folders / "HR"), "--features"])
    assert "| features ↓" in run(catch_exceptions=False).output
    monkeypatch.setattr(efficientnet, "find_spec", lambda package: None)
    module._features.cache_clear()
    with pytest.raises(ModelError, match=r"'sdsr\[evaluate\]'"):
        run(catch_exceptions=False)


def test_weights_are_chosen_by_the_network_that_losses_see(folders):
    app = typer.Typer()
    app.command()(evaluate)
    shown = CliRunner().invoke(app, [str(folders / "out"), str(folders / "HR"), "--choosing", "--json"])
    figures = json.loads(shown.stdout)
    assert {"features_lite0", "objects_lite0"} <= figures.keys()
    assert "features" not in figures
    assert "EfficientNet-Lite0" in figures["description"]


def tool():
    """The script, imported from beside the repository."""
    spec = importlib.util.spec_from_file_location("features_tool", TOOL)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.mark.skipif(not (TOOL.is_file() and REALSR.is_dir()), reason="needs ../shared/tools/features.py and RealSR")
@pytest.mark.parametrize("name", ["Canon_001", "Nikon_026"])
def test_realsr_is_measured_as_by_the_script(name, monkeypatch):
    script = tool()
    result, truth = (REALSR / folder / f"{name}_LR4.png" for folder in ("osediff", "HR"))
    _, edge = script.ripple_and_edge(*(PillowImage.open(path).convert("RGB") for path in (result, truth)))
    pixels = [read_pixels(path) for path in (result, truth)]
    assert edge_width(*(plane(each, "luma") for each in pixels)) == pytest.approx(edge, abs=1e-3)
    monkeypatch.setattr(sys, "path", [*sys.path, os.environ.get("FEATURES_SITE", "")])
    if importlib.util.find_spec("efficientnet_lite_pytorch") is None:
        pytest.skip("features: needs the package efficientnet-lite-pytorch (FEATURES_SITE names its folder)")
    network = script.Features("lite2")
    maps = [network(levels_as_image(plane(each, "rgb"))) for each in pixels]
    assert feature_distance(*(plane(each, "rgb") for each in pixels)) == pytest.approx(script.distance(*maps), abs=1e-3)
