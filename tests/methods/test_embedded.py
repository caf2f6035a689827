"""The embedded methods, all of them: their folders, and that each restores the sample photo and not just anything."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from sdsr.images.floats import image
from sdsr.images.resize import resample
from sdsr.method_folders import ASSETS, DESCRIPTION, read_description
from sdsr.methods import METHODS
from sdsr.models import DEFAULT_MODEL
from sdsr.photos.files import read_photo
from sdsr.photos.photo import Photo
from sdsr.tensors import Image, Region
from sdsr.upscaling import Request, Upscaler

EMBEDDED = sorted(folder.parent.name for folder in ASSETS.glob(f"*/{DESCRIPTION}"))
README = Path(__file__).parents[2] / "README.md"
MOST_BYTES = 10e6
LARGER = {"d3sr-small", "addsr-small"}  # the prior's whole UNet, trained; the decoder that four others use
FEW = 10
PART = Region(top=44, left=56, height=32, width=40)  # of the LQ photo: the net's end, a strap, stripes
SCALE = 4


def psnr(result: Image, truth: Image) -> float:
    return float(-10 * (result - truth).square().mean().log10())


def detail(picture: Image) -> float:
    return float(picture.diff(dim=-1).abs().mean())


@pytest.fixture(scope="module")
def photos() -> tuple[Photo, Image]:
    """A part of the sample photo, and what it was."""
    lq, truth = read_photo(ASSETS / "sample.jpg"), image(read_photo(ASSETS / "sample_hq.jpg"), PART.scaled(SCALE))
    return Photo(pixels=np.ascontiguousarray(lq.pixels[PART.rows, PART.columns])), truth


def test_readme_names_those_that_are_there_and_no_others():
    named = set(re.findall(r"`([a-z0-9]+-small)`", README.read_text(encoding="utf-8")))
    assert named & METHODS.keys() == {*EMBEDDED}
    assert len(EMBEDDED) >= 4


def test_a_summary_says_that_a_method_is_slower_than_the_default():
    page = (README.parent / "docs" / "small-models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9]+-small)` .* MB \| ([\d.]+) \|$", page, re.MULTILINE)
    operations = {name: float(count) for name, count in rows}
    assert operations.keys() == {*EMBEDDED}
    slower = {name for name, count in operations.items() if count > operations[DEFAULT_MODEL]}
    assert {name for name in EMBEDDED if re.search(f"slow.* {DEFAULT_MODEL}", METHODS[name].summary)} == slower


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_folder_is_that_method_small_and_told_of(name: str):
    folder: Path = ASSETS / name
    description = read_description(folder)
    assert description["recipe"] == name
    assert description["prior"] == "small"
    assert {path.name for path in folder.glob("*.safetensors")} == {*description["files"]}
    assert name in LARGER or sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES
    assert f"Model card: {name}" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EMBEDDED)
def test_it_restores_the_sample_photo(name: str, photos: tuple[Photo, Image]):
    """Near to the truth, in its colors, and with more detail than bicubic; wrong weights give clouds or a mesh."""
    lq, truth = photos
    upscaler = Upscaler.from_pretrained(name, device="cpu")
    own = METHODS[name].plan
    assert own is not None
    steps = min(FEW, len(own.times)) if upscaler.recipe.most_steps > 1 else None
    result = image(upscaler.upscale(lq, Request(scale=SCALE, steps=steps)))
    bicubic = resample(image(lq), (truth.shape[-2], truth.shape[-1])).clamp(0, 1)
    assert psnr(result, truth) > psnr(bicubic, truth) - 3
    assert torch.allclose(result.mean((2, 3)), bicubic.mean((2, 3)), atol=0.02)
    assert detail(result) > 1.02 * detail(bicubic)
