"""Start, steps and fidelity as a user chooses them: plans, errors, monotone distance, tables and pictures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from sdsr.cli.main import app
from sdsr.errors import InputError
from sdsr.images.floats import quantize
from sdsr.methods import METHODS
from sdsr.methods.invsr.recipes import INVSR, INVSR_SMALL, SMALL_METHOD
from sdsr.photos.photo import Photo
from sdsr.prior.tiny import tiny_prior
from sdsr.request import Request
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.wishing import by_guidance
from sdsr.studies.discriminator_features import Look, features, in_colors, latents_of, sheet
from sdsr.studies.fidelity import FIDELITIES, distances
from sdsr.studies.samples import Sample, redegraded
from sdsr.studies.starts import DEGRADATIONS, plans_of_starts
from sdsr.upscaling import Upscaler

RUN = CliRunner()


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    """The small InvSR untrained on the tiny prior: it starts from plain noise, as much as its start says."""
    return Upscaler(replace(INVSR_SMALL, color_fix="none"), SMALL_METHOD.build("tiny"))


@pytest.fixture
def given(photo) -> Photo:
    return Photo(pixels=quantize(photo[..., :16, :24], np.uint8))


def test_steps_and_start_give_the_papers_lists(upscaler):
    assert upscaler.plan().times == (199,)
    assert upscaler.plan(3).times == (199, 99, 49)
    assert upscaler.plan(start=250).times == (249,)
    assert upscaler.plan(3, start=250).times == (249, 149, 49)
    assert upscaler.plan(2, start=220, untrained_start=True).times == (219, 109)
    assert upscaler.plan(2, fidelity=1).times == (99, 49)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"steps": 9}, r"steps \(=9\) of InvSR must be in 1 \.\.\. 5; "),
        (
            {"start": 220},
            r"start \(=220\) must be one of 250, 200, 150, 100, where this method was trained",
        ),
        ({"start": 2000, "untrained_start": True}, r"start \(=2000\) must be in 1 \.\.\. 1000; "),
        ({"fidelity": 1.5}, r"fidelity \(=1\.5\) must be in 0 \.\.\. 1; "),
        ({"start": 250, "fidelity": 0.5}, r"fidelity \(=0\.5\) chooses the start \(=250\); leave one of them out"),
    ],
)
def test_what_can_not_be_is_an_error_of_one_line(upscaler, given, wanted, message):
    with pytest.raises(InputError, match=message) as error:
        upscaler.upscale(given, Request(**wanted))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wanted", [{"start": 200}, {"start": "auto"}, {"fidelity": 0.5}])
def test_methods_without_a_choice_say_so(given, wanted):
    recipe = METHODS["osediff"]
    with pytest.raises(InputError, match=r"means nothing to this method; leave it out\."):
        Upscaler(recipe, recipe.method.build("tiny")).upscale(given, Request(**wanted))


def test_the_automatic_start_is_the_fixed_one_it_names(upscaler, photo):
    clean = Photo(pixels=quantize(photo[..., :48, :64], np.uint8))
    noise = np.random.default_rng(0).normal(0, 40, clean.pixels.shape)
    noisy = Photo(pixels=(clean.pixels + noise).clip(0, 255).astype(np.uint8))
    chosen = upscaler.job(noisy, Request(start="auto")).plan
    assert chosen == upscaler.plan(1, start=100)
    assert (chosen.reason or "").startswith("start 100, 1 step: very noisy")
    fixed = upscaler.upscale(noisy, Request(start=100)).pixels
    assert np.array_equal(upscaler.upscale(noisy, Request(start="auto")).pixels, fixed)
    assert len(upscaler.job(noisy, Request(start="auto", steps=2)).plan.times) == 2
    assert upscaler.job(noisy, Request(start=150)).plan.reason is None


def test_more_fidelity_is_never_farther_from_the_photo(upscaler, given):
    """Untrained, an estimate errs by the noise it began with, so the distance shows the start alone."""
    found = [distances(upscaler, given, Request(scale=4, seed=seed)) for seed in range(3)]
    means = [np.mean([by_fidelity[fidelity] for by_fidelity in found]) for fidelity in FIDELITIES]
    assert means == sorted(means, reverse=True)
    assert means[0] > 1.1 * means[-1]


def test_guidance_falls_with_fidelity():
    plan = METHODS["consissr"].plan
    guidance = [by_guidance(plan, fidelity).guidance for fidelity in FIDELITIES]
    assert guidance == [9, 7, 5, 3, 1]
    small = METHODS["consissr-small"].method
    assert small is not None
    assert small.plan(Request(fidelity=1.0)).guidance == by_guidance(small.own_plan, 1.0).guidance


def test_full_size_windows_are_limited():
    recipe = replace(INVSR_SMALL, canvas=Canvas(window_px=256))
    assert INVSR.canvas.window_px == 512
    wide, narrow = (Upscaler(one, SMALL_METHOD.build("tiny")) for one in (INVSR_SMALL, recipe))
    assert wide.maker.windowed((768, 1024), None).window_px == 512
    assert narrow.maker.windowed((768, 1024), None).window_px == 256
    assert narrow.maker.windowed((96, 128), None).window_px == 128


def test_another_window_size_gives_nearly_the_same_picture(photo):
    restorer, given = SMALL_METHOD.build("small", "cpu"), Photo(pixels=quantize(photo[..., :40, :48], np.uint8))
    pictures = [
        Upscaler(replace(INVSR_SMALL, canvas=Canvas(window_px=most)), restorer)
        .upscale(given, Request(seed=1))
        .pixels.astype(int)
        for most in (1024, 128)
    ]
    assert 0 < np.abs(pictures[0] - pictures[1]).mean() < 2


def test_a_known_degradation_is_what_its_name_says(photo):
    truth, rng = photo[..., :96, :128], torch.Generator().manual_seed(0)
    made = {known.name: known(truth, 4, rng) for known in DEGRADATIONS}
    assert {picture.shape for picture in made.values()} == {(1, 3, 24, 32)}
    rough = {name: float(picture.diff(dim=-1).abs().mean()) for name, picture in made.items()}
    assert rough["very noisy"] > rough["noisy"] > rough["clean"] > rough["blurred"] > rough["very blurred"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "invsr-tiny"
    Upscaler(INVSR_SMALL, INVSR_SMALL.method.build("tiny")).save_pretrained(folder)
    return folder


@pytest.fixture
def folders(photo, tmp_path) -> tuple[Path, Path]:
    for name, size in (("hr", 64), ("lq", 16)):
        (tmp_path / name).mkdir()
        pixels = quantize(photo[..., :size, :size], np.uint8)
        Image.fromarray(pixels).save(tmp_path / name / "a.png")
    return tmp_path / "lq", tmp_path / "hr"


def run(*words: object) -> str:
    done = RUN.invoke(app, [*map(str, words)])
    if done.exception:
        raise done.exception
    return done.output


def test_the_starts_command_compares_auto_with_each_start(model, folders):
    output = run("study", "starts", model, folders[1])
    (head, *lines) = [line for line in output.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in head.split("|")[1:-1]] == ["degradation", "250", "200", "150", "100", "auto"]
    assert [line.split("|")[1].strip() for line in lines[1:]] == [*(known.name for known in DEGRADATIONS), "mean"]


def test_the_fidelity_command_writes_figures_and_a_plot(model, folders, tmp_path):
    run("study", "fidelity", model, folders[0] / "a.png", "-o", tmp_path / "out")
    lines = (tmp_path / "out" / "fidelity.csv").read_text().splitlines()
    assert len(lines) == 1 + len(FIDELITIES)
    with Image.open(tmp_path / "out" / "fidelity.png") as plot:
        assert plot.width > 300


def test_upscale_takes_start_and_prints_why(model, folders, tmp_path):
    photo = folders[0] / "a.png"
    assert "; start " in run("upscale", photo, "-o", tmp_path / "auto.png", "--model", model, "--start", "auto")
    done = RUN.invoke(
        app, ["upscale", str(photo), "-o", str(tmp_path / "b.png"), "--model", str(model), "--start", "90"]
    )
    assert isinstance(done.exception, InputError)
    words = ("--start", "90", "--untrained-start", "--steps", "2")
    assert "warning: start (=90) is none" in run("upscale", photo, "-o", tmp_path / "c.png", "--model", model, *words)
    lines = run("upscale", photo, "-o", tmp_path / "d.png", "--model", model, "--start", "auto", "--json")
    assert json.loads(lines)["chosen"].startswith("start ")


def test_features_are_the_unets_own_at_every_time(photo):
    prior, look = tiny_prior(), Look(times=(99, 899))
    crops = {"a": photo[..., :64, :64], "b": photo[..., -64:, -64:]}
    photos = {name: Photo(pixels=quantize(crop, np.uint8)) for name, crop in crops.items()}
    latents = latents_of(prior, photos, 64)
    maps = features(prior.unet, prior, list(latents.values()), look)
    assert len(maps) == 2
    assert not torch.allclose(maps[0], maps[1])
    assert maps[0].shape[0] == 2
    picture = sheet(photos, {"tiny": maps}, look, side_px=64, factor=prior.factor)
    assert picture.width > 3 * 256


def test_colors_part_what_differs_and_are_the_same_for_the_same():
    maps = torch.zeros(1, 8, 4, 4)
    maps[:, 3, :, 2:] = 5
    maps = maps + 0.01 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(0))
    colors = in_colors(maps)
    assert float((colors[0, :, 2:, 0] - colors[0, :, :2, 0]).abs().min()) > 0.8
    assert torch.equal(colors, in_colors(maps))


def test_the_discriminator_features_command_writes_a_sheet(folders, tmp_path):
    photo = folders[1] / "a.png"
    run(
        "study",
        "discriminator-features",
        photo,
        "-o",
        tmp_path / "sheet.png",
        "--prior",
        "tiny",
        "--time",
        "10",
        "--discriminator",
        "prior",
    )
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width > 2 * 256
    with pytest.raises(InputError, match=r"level \(=7\) of prior must be in"):
        run("study", "discriminator-features", photo, "-o", tmp_path / "b.png", "--prior", "tiny", "--level", "7")


def test_the_plans_of_starts_are_those_of_requests_and_one_is_chosen_for_the_photo(upscaler, given):
    plans = plans_of_starts(upscaler)(given)
    assert list(plans) == ["250", "200", "150", "100", "auto"]
    assert plans["150"].times == (149,)
    assert plans["auto"] == upscaler.job(given, Request(start="auto")).plan
    recipe = METHODS["seesr-small"]
    with pytest.raises(InputError, match=r"model \(=seesr-small\) has no choice of starts; try invsr-small"):
        plans_of_starts(Upscaler(recipe, recipe.method.build("tiny")))


def test_another_degradation_takes_the_place_of_a_samples_lq_photo(photo):
    truth = quantize(photo[..., :32, :48], np.uint8)
    sample = Sample(name="a", lq=lambda: Photo(pixels=truth), truth=lambda: truth)
    changed = [redegraded(sample, DEGRADATIONS[1], 4, seed).lq().pixels for seed in (0, 0, 1)]
    assert changed[0].shape == (8, 12, 3)
    assert np.array_equal(changed[0], changed[1])
    assert not np.array_equal(changed[0], changed[2])
