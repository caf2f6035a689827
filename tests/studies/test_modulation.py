"""Conditioning strength: what is compared, at which times, and the command that writes it."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from typer.testing import CliRunner

from sdsr.checkpoints.weights import save_method
from sdsr.cli.main import app
from sdsr.errors import InputError
from sdsr.methods import METHODS
from sdsr.methods.stablesr.modulation import ScaleShift
from sdsr.methods.stablesr.recipes import SMALL_METHOD, STABLESR_SMALL
from sdsr.photos.files import Photo
from sdsr.studies.modulation import Moment, curve, moments
from sdsr.training.run import save_parts
from sdsr.upscaling import Request, Upscaler

REQUEST = Request(scale=4, steps=3)


@pytest.fixture
def upscaler() -> Upscaler:
    torch.manual_seed(0)
    return Upscaler(STABLESR_SMALL, STABLESR_SMALL.method.build("tiny"))


@pytest.fixture
def given() -> Photo:
    return Photo(pixels=np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8))


def test_every_layer_is_compared_at_every_time(upscaler, given):
    condition = list(moments(upscaler, given, REQUEST))
    assert [moment.t for moment in condition] == [999, 500, 0]
    for moment in condition:
        assert len(moment.similarity) == 8
        assert all(-1 <= cosine <= 1 for cosine in moment.similarity.values())
        assert {factor: each.shape for factor, each in moment.sft_features.items()} == {1: (12, 14), 2: (6, 7)}
    modules = [module for part in upscaler.restorer.parts.modules.values() for module in part.modules()]
    assert not any(m._forward_hooks for m in modules if isinstance(m, ScaleShift))


def test_what_is_only_scaled_is_not_told_and_what_is_negated_is(upscaler, given, monkeypatch):
    for factor, cosine in ((3.0, 1.0), (-0.5, -1.0)):
        monkeypatch.setattr(ScaleShift, "forward", lambda self, features, guide, factor=factor: factor * features)
        for moment in moments(upscaler, given, REQUEST):
            assert all(math.isclose(value, cosine, abs_tol=1e-5) for value in moment.similarity.values())


def test_a_curve_is_the_mean_over_photos_and_layers_with_the_layers_deviation():
    def path(*values: tuple[float, float]) -> list[Moment]:
        return [
            Moment(t=t, similarity={"a": a, "b": b}, sft_features={}) for t, (a, b) in zip((9, 0), values, strict=True)
        ]

    found = curve({"one": path((0.2, 0.8), (1.0, 1.0)), "two": path((0.4, 0.6), (1.0, 1.0))})
    assert [point.t for point in found] == [9, 0]
    assert (found[0].mean, found[0].deviation) == pytest.approx((0.5, 0.2))
    assert (found[1].mean, found[1].deviation) == pytest.approx((1.0, 0.0))


def test_a_method_that_modulates_nothing_is_refused(given):
    recipe = METHODS["d3sr-small"]
    with pytest.raises(InputError, match=r"model \(=d3sr-small\) modulates nothing"):
        next(moments(Upscaler(recipe, recipe.method.build("tiny")), given, Request()))


def test_the_command_writes_figures_and_pictures_of_both_variants(upscaler, given, tmp_path: Path):
    save_method(upscaler.restorer, tmp_path / "model", STABLESR_SMALL, {})
    variant = replace(SMALL_METHOD, encoder=replace(SMALL_METHOD.encoder, time_aware=False)).build("tiny")
    (tmp_path / "parts").mkdir()
    trained = {name: part.state_dict() for name, part in variant.parts.modules.items()}
    save_parts(trained, tmp_path / "parts", {"method": {"decoder": None}})
    PillowImage.fromarray(given.pixels).save(tmp_path / "photo.png")
    asked = ["study", "modulation", tmp_path / "model", tmp_path / "photo.png", "-o", tmp_path / "out", "--steps", 3]
    done = CliRunner().invoke(app, [*map(str, asked), "--timeless", str(tmp_path / "parts"), "--prior", "tiny"])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((tmp_path / "out" / "modulation.csv").read_text().splitlines()))
    assert len(rows) == 2 * 3 * 8
    assert {row["label"] for row in rows} == {"model", "without time"}
    for name in ("modulation.png", "sft.png"):
        with PillowImage.open(tmp_path / "out" / name) as picture:
            assert min(picture.size) > 200
    assert "without time" in done.output
