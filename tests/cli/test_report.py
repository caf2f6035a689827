"""`sdsr report`: a page beside the result, with passes and without; what can't be is refused before any work."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage
from typer.testing import CliRunner

from sdsr.cli.main import app
from sdsr.errors import InputError, OutputError
from sdsr.photos.files import read_photo, write_photo
from sdsr.photos.label import Step, labeled


@pytest.fixture
def pair(tmp_path):
    pixels = np.random.default_rng(0).integers(60, 200, (6, 8, 3), dtype=np.uint8)
    small = PillowImage.fromarray(pixels)
    small.save(tmp_path / "a.png")
    small.resize((32, 24), PillowImage.Resampling.BICUBIC).save(tmp_path / "a_x4.png")
    return tmp_path / "a.png", tmp_path / "a_x4.png"


def run(*arguments) -> str:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_a_result_of_any_program_is_reported(pair):
    page = run(*pair)
    assert page == str(pair[1].with_name("a_x4.png.report.html"))
    figures = json.loads(pair[1].with_name("a_x4.png.report.json").read_text())
    assert figures["consistency"]["psnr_db"] > 20
    assert "disagreement" not in figures
    assert "several passes of the model that made the result" in figures["no_mask"]
    with pytest.raises(OutputError, match="exists; name another"):
        run(*pair)


@pytest.mark.parametrize(("model", "more"), [("d3sr-small", ""), ("seesr-small", " --model seesr-small")])
def test_a_label_tells_how_many_passes_a_mask_takes(pair, model, more):
    label = labeled(None, Step(software="sdsr", version="1", model=model))
    made = read_photo(pair[1])
    write_photo(replace(made, traits=replace(made.traits, xmp=label)), pair[1], overwrite=True)
    run(*pair)
    figures = json.loads(pair[1].with_name("a_x4.png.report.json").read_text())
    assert figures["no_mask"].endswith(f"add --passes 4{more}")


def test_passes_show_where_they_disagree(pair, tmp_path):
    run(*pair, "--passes", 2, "-o", tmp_path / "b.html")
    figures = json.loads((tmp_path / "b.json").read_text())
    assert figures["disagreement"]["passes"] == 2
    assert figures["disagreement"]["mean"] > 0
    assert "D3SR" in (tmp_path / "b.html").read_text()


def test_what_is_warned_of_is_printed_too(pair):
    inverted = 255 - np.asarray(PillowImage.open(pair[1]))
    PillowImage.fromarray(inverted).save(pair[1])
    found = CliRunner().invoke(app, ["report", *map(str, pair)], catch_exceptions=False)
    warnings = json.loads(pair[1].with_name("a_x4.png.report.json").read_text())["warnings"]
    assert "contradicts its photo" in warnings[0]
    assert [f"sdsr: warning: {each}" for each in warnings] == found.stderr.splitlines()


@pytest.mark.parametrize("more", [(), ("--passes", 2)])
def test_pictures_that_do_not_belong_together_are_refused(pair, more):
    PillowImage.new("RGB", (32, 32)).save(pair[0])
    PillowImage.new("RGB", (320, 160)).save(pair[1])
    with pytest.raises(InputError, match=r"result \(=320 x 160 px\) must have the proportions of its photo"):
        run(*pair, *more)


def test_one_pass_is_refused(pair):
    with pytest.raises(InputError, match=r"passes \(=1\) must be 0, or 2 ... 8"):
        run(*pair, "--passes", 1)
