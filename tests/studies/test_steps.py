"""Tables of steps: which plans are compared, each photo's pictures those that a user gets, and no step done twice."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sdsr.cli.main import app
from sdsr.errors import InputError
from sdsr.images.floats import quantize
from sdsr.methods import METHODS
from sdsr.methods.addsr.recipes import ADDSR_SMALL, SMALL_STUDENT
from sdsr.methods.invsr.recipes import INVSR_SMALL, SMALL_METHOD
from sdsr.metrics.protocol import PROTOCOLS
from sdsr.photos.photo import Photo
from sdsr.restoration.restorer import Restorer
from sdsr.studies.comparison import Comparison, compare
from sdsr.studies.samples import paired_samples
from sdsr.studies.steps import STARTS, plans_of_steps
from sdsr.upscaling import Request, Upscaler


@pytest.fixture(scope="module")
def invsr() -> Upscaler:
    return Upscaler(INVSR_SMALL, SMALL_METHOD.build("tiny"))


@pytest.fixture(scope="module")
def addsr() -> Upscaler:
    """Untrained on the tiny prior: what is encoded of the photo is felt, as image attention begins at full strength."""
    return Upscaler(ADDSR_SMALL, replace(SMALL_STUDENT, init_scale=1.0).build("tiny"))


@pytest.fixture
def folders(photo, tmp_path) -> tuple[Path, Path]:
    for name, size in (("hr", 64), ("lq", 16)):
        (tmp_path / name).mkdir()
        Image.fromarray(quantize(photo[..., :size, :size], np.uint8)).save(tmp_path / name / "a.png")
    return tmp_path / "lq", tmp_path / "hr"


def test_invsr_has_the_papers_lists(invsr):
    labels = list(plans_of_steps(invsr))
    assert len(labels) == len(STARTS)
    assert {"1: 250", "3: 200, 100, 50", "3: 250, 150, 50", "3: 150, 100, 50", "5: 250, 200, 150, 100, 50"} <= {*labels}


def test_addsr_has_one_to_four_steps_with_and_without_a_look_back(addsr):
    plans = plans_of_steps(addsr)
    wanted = ["1", *(f"{steps}, {way}" for steps in (2, 3, 4) for way in ("refined", "not refined"))]
    assert list(plans) == wanted
    assert plans["3, refined"] == addsr.plan(3)
    assert plans["3, not refined"].times == (999, 749, 499)
    assert plans["3, not refined"].refinement is None


def test_a_method_of_one_number_of_steps_says_so():
    recipe = METHODS["d3sr-small"]
    with pytest.raises(InputError, match=r"model \(=d3sr-small\) has neither starts nor self-refinement; try"):
        plans_of_steps(Upscaler(recipe, recipe.method.build("tiny")))


@pytest.mark.parametrize("name", ["invsr", "addsr"])
def test_pictures_are_those_that_a_user_gets(name, request, folders, monkeypatch):
    """Plans that begin alike share their steps, and each picture is that of its own restoration."""
    upscaler, shown = request.getfixturevalue(name), {}
    plans = plans_of_steps(upscaler)
    measure = replace(
        PROTOCOLS["rgb"].measures[0],
        function=lambda result, _: float(not shown.setdefault(len(shown), result).size),
    )
    samples, taken, denoise = paired_samples(*folders), [], Restorer.denoise
    monkeypatch.setattr(Restorer, "denoise", lambda self, *given: taken.append(given[1]) or denoise(self, *given))
    protocol = replace(PROTOCOLS["rgb"], measures=(measure,))
    assert list(compare(upscaler, plans, Comparison(samples=samples, protocol=protocol, seed=5))) == list(plans)
    assert len(taken) < sum(len(plan.times) for plan in plans.values())
    photo = Photo(pixels=np.asarray(Image.open(folders[0] / "a.png")))
    for plan in plans.values():
        recipe = upscaler.recipe.with_plan(plan)
        alone = Upscaler(recipe, upscaler.restorer).upscale(photo, Request(scale=4, seed=5)).pixels
        assert any(np.array_equal(alone, picture) for picture in shown.values())
    assert len({picture.tobytes() for picture in shown.values()}) == len(plans)


def test_the_command_prints_one_row_for_each_plan(invsr, folders, tmp_path):
    Upscaler(INVSR_SMALL, INVSR_SMALL.method.build("tiny")).save_pretrained(tmp_path / "model")
    words = (
        "study",
        "steps",
        tmp_path / "model",
        *folders,
        "--json",
        "--csv",
        tmp_path / "rows.csv",
        "--protocol",
        "rgb",
        "--features",
    )
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    found = json.loads(done.stdout)["results"]
    assert list(found) == list(plans_of_steps(invsr))
    assert all(np.isfinite([row["psnr_rgb"], row["features"]]).all() for row in found.values())
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 1 + len(STARTS)
