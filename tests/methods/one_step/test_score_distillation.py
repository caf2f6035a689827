"""OSEDiff's training: the gradient written out, who learns, a run of thirty steps that is resumed, published sizes."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sdsr.images.floats import quantize
from sdsr.losses.terms import StepRecord
from sdsr.methods.one_step.recipes import OSEDIFF
from sdsr.methods.one_step.score_distillation import SCORES, DistilledScores, ScoreDistillation
from sdsr.prior.condition import Condition
from sdsr.training.launch import LaunchSettings, launch
from sdsr.training.run import RunSettings
from tests.tensors import seeded

STAGE = OSEDIFF.stage("distillation")
CHANGES = {"crop_px": "64", "batch": "1", "ema_decay": "0.0"}


@pytest.fixture
def scores() -> DistilledScores:
    restorer = STAGE.build("tiny")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        scores = ScoreDistillation()(restorer)
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in scores.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    return scores


@pytest.fixture
def record() -> StepRecord:
    clean = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    return StepRecord(clean=clean, hq=torch.zeros_like(clean))


def test_the_gradient_is_the_difference_of_both_scores(scores, record):
    """2 (fake - real) / mean |clean - real| over the number of values, with the real score guided by 7.5."""
    scores.generator_losses(record, seeded(2))[SCORES].backward()
    rng = seeded(2)
    t = torch.randint(20, 980, (2,), generator=rng)
    noise = torch.randn(record.clean.shape, generator=rng)
    schedule = scores.real.schedule
    with torch.no_grad():
        noisy = schedule.noisy(record.clean, noise, t)
        text, unwanted = (Condition(prompt=scores.real.embed(prompt)) for prompt in ("clean", "degraded"))
        with_text, without = (scores.real.denoise(noisy, t, each) for each in (text, unwanted))
        real = without + 7.5 * (with_text - without)
        fake = scores.fake.denoise(noisy, t, text)
        distance = (record.clean - real).abs().flatten(1).mean(1)[:, None, None, None]
        expected = 2 * (fake - real) / distance / record.clean.numel()
    torch.testing.assert_close(record.clean.grad, expected, rtol=1e-3, atol=1e-6)
    assert expected.abs().max() > 1e-4
    assert all(parameter.grad is None for parameter in scores.parameters())


def test_the_fake_score_learns_noise_in_what_was_made_and_nothing_else_does(scores, record):
    outcome = scores(record, seeded(2))
    outcome.loss.backward()
    rng = seeded(2)
    t = torch.randint(0, 1000, (2,), generator=rng)
    noise = torch.randn(record.clean.shape, generator=rng)
    schedule, prompt = scores.fake.schedule, Condition(prompt=scores.fake.embed("clean"))
    predicted = scores.fake.predict(schedule.noisy(record.clean, noise, t), t, prompt)
    torch.testing.assert_close(outcome.loss, (predicted - noise).square().mean(), rtol=1e-4, atol=1e-6)
    assert record.clean.grad is None
    assert all(parameter.grad is not None for parameter in scores.parameters())
    assert all(p.grad is None and not p.requires_grad for p in scores.real.modules.parameters())


def test_scores_that_agree_leave_the_generator_alone(record):
    """The fake score begins as its prior; without guidance so does the real one."""
    scores = replace(ScoreDistillation(), guidance=1.0)(STAGE.build("tiny"))
    loss = scores.generator_losses(record, seeded(2))[SCORES]
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert record.clean.grad.abs().max() < 1e-4


def test_the_scores_are_made_of_the_stock_network_and_share_its_weights():
    restorer = STAGE.build("tiny")
    scores = ScoreDistillation()(restorer)
    stock = {id(parameter) for parameter in restorer.prior.stock.parameters()}
    assert {id(p) for p in scores.real.network.parameters()} == stock
    own = {id(p) for p in scores.parameters()}
    assert {id(p) for p in scores.fake.network.parameters()} == stock | own
    assert restorer.prior.network is not scores.fake.network


@pytest.fixture
def folder(tmp_path, photo) -> Path:
    """Two photos of 96 px."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(2):
        pixels = quantize(photo[..., index : index + 96, index : index + 96], np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def settings(folder) -> LaunchSettings:
    return LaunchSettings(data=(folder,), prior="tiny", changes=CHANGES, precision="no")


@pytest.mark.slow
def test_thirty_steps_are_finite_and_move_both_sides(settings, tmp_path):
    parts = launch("osediff", replace(settings, prior="small"), RunSettings(folder=tmp_path, steps=30))
    with (tmp_path / "scalars.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"loss", "l2", "lpips", "adversarial", "discriminator/fake_score"} <= {row["name"] for row in rows}
    assert {row["step"] for row in rows} >= {"1", "30"}
    assert all(math.isfinite(float(row["value"])) for row in rows)
    of_fake_score = tmp_path / "checkpoints" / "step-00000030" / "model_1.safetensors"
    for path in (parts / "lora.safetensors", parts / "encoder_lora.safetensors", of_fake_score):
        second = [tensor for name, tensor in load_file(path).items() if "lora_B" in name]  # zero in the beginning
        assert second
        assert all(tensor.any() and tensor.isfinite().all() for tensor in second)


def test_a_resumed_run_ends_alike(settings, tmp_path):
    whole = launch("osediff", settings, RunSettings(folder=tmp_path / "whole", steps=4))
    launch("osediff", settings, RunSettings(folder=tmp_path / "halves", steps=2))
    again = launch("osediff", settings, RunSettings(folder=tmp_path / "halves", steps=4))
    for name in ("lora", "encoder_lora", "first_layer"):
        trained, resumed = (load_file(folder / f"{name}.safetensors") for folder in (whole, again))
        for key, tensor in trained.items():
            torch.testing.assert_close(resumed[key], tensor, atol=1e-5, rtol=1e-4)
