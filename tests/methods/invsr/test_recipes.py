"""InvSR at work: its start and sampling against recordings, windows, sizes, gradients, and its two recipes."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.diffusion.steps import ancestral, deterministic
from sdsr.errors import InputError
from sdsr.images.floats import quantize
from sdsr.methods.ablations import ABLATIONS
from sdsr.methods.invsr.method import PART, PredictedNoise, PredictorSettings, reduced
from sdsr.methods.invsr.predictor import Gaussian
from sdsr.methods.invsr.recipes import INVSR, INVSR_SMALL, SMALL_METHOD
from sdsr.methods.invsr.times import PLAN, times_for
from sdsr.photos.photo import Photo
from sdsr.prior.tiny import tiny_prior
from sdsr.request import Request
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.restorer import Restorer, latent_region
from sdsr.restoration.sample import sample
from sdsr.restoration.windowed import Windowed
from sdsr.tensors import Region
from sdsr.upscaling import Upscaler
from tests.tensors import pair

GOLDEN = Path(__file__).parents[2] / "golden" / "invsr_start_and_sampling"
NOISE = CanvasNoise(seeds=(5,))
TOLERANCE = {"atol": 2e-6, "rtol": 0}


@pytest.fixture(scope="module")
def recorded() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "io.safetensors")


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    """The small variant on the tiny prior, its predictor stirred so that it sees the photo and the time."""
    restorer = SMALL_METHOD.build("tiny")
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in restorer.parts.modules.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=rng)
    return restorer


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_start_and_steps_are_those_recorded(recorded, steps):
    """The recorded latents are ours divided by the root of alpha_bar."""
    plan, schedule = replace(PLAN, times=times_for(steps)), NoiseSchedule.scaled_linear()
    assert plan.times == tuple(recorded[f"n{steps}.timesteps_model"].int().tolist())
    assert plan.start_time == int(recorded[f"n{steps}.start_predictor_timestep"])
    noisy = schedule.noisy(recorded["z_lq_scaled"], recorded["predicted_noise"], plan.start_time)
    root = schedule.signal(plan.start_time).float().item()
    torch.testing.assert_close(noisy / root, recorded[f"n{steps}.latent_start"], **TOLERANCE)
    for index, (t, to) in enumerate(pairwise((*plan.times, None))):
        assert t is not None
        torch.testing.assert_close(noisy[0], recorded[f"n{steps}.unet_input"][index], **TOLERANCE)
        clean = schedule.clean(0.3 * noisy, noisy, t)
        torch.testing.assert_close(clean[0], recorded[f"n{steps}.x0_pred"][index], **TOLERANCE)
        if to is not None:
            noisy = plan.step(schedule, noisy, clean, t, to, torch.zeros_like(noisy))
            root = schedule.signal(to).float().item()
            torch.testing.assert_close(noisy[0] / root, recorded[f"n{steps}.latent_after_step"][index], **TOLERANCE)
    torch.testing.assert_close(clean, recorded[f"n{steps}.final_latent"], **TOLERANCE)


def test_the_training_start_is_that_recorded(recorded):
    schedule, times = NoiseSchedule.scaled_linear(), recorded["train.timesteps_zero_based"].long()
    predicted = Gaussian(mean=recorded["train.noise_mean"], log_variance=recorded["train.noise_logvar"])
    latent = recorded["z_lq_scaled"].expand(4, -1, -1, -1)
    noisy = schedule.noisy(latent, predicted.sample(recorded["train.posterior_noise"]), times)
    torch.testing.assert_close(noisy, recorded["train.unet_input"], **TOLERANCE)
    clean = schedule.clean(0.3 * noisy, noisy, times)
    torch.testing.assert_close(clean, recorded["train.z0_pred"], **TOLERANCE)


def test_the_start_is_the_latent_noised_by_what_is_predicted(restorer, photo):
    lq_image = LqImage.of(photo[..., :32, :48], (128, 192), 16)
    predictor = restorer.parts.modules[PART]
    with torch.no_grad():
        encoded = restorer.encode_lq(lq_image, None, NOISE)
        start = restorer.start(encoded, 149, NOISE)
        with restorer.prior.precision():
            predicted = predictor(photo[..., :32, :48], 149)
    noise = predicted.sample(NOISE.at("start", 0, Region.whole(16, 24), 4))
    assert torch.equal(start, restorer.schedule.noisy(encoded.latent, noise, 149))
    assert predicted.mean.std() > 0.01


def test_a_start_may_have_a_time_for_each_photo(restorer, photo):
    lq_image = LqImage.of(photo[..., :32, :32].expand(2, -1, -1, -1), (128, 128), 16)
    noise = CanvasNoise(seeds=(5, 5))
    with torch.no_grad():
        encoded = restorer.encode_lq(lq_image, None, noise)
        both = restorer.start(encoded, torch.tensor([249, 99]), noise)
        for row, t in enumerate((249, 99)):
            torch.testing.assert_close(both[row], restorer.start(encoded, t, noise)[row])


def test_a_fresh_predictor_is_plain_noise_and_always_the_same(photo):
    first, second = (SMALL_METHOD.build("tiny") for _ in range(2))
    states = [restorer.parts.modules.state_dict() for restorer in (first, second)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    lq_image = LqImage.of(photo[..., :16, :16], (64, 64), 16)
    with torch.no_grad():
        encoded = first.encode_lq(lq_image, None, NOISE)
        start = first.start(encoded, 199, NOISE)
    plain = NOISE.at("start", 0, latent_region(lq_image.region, 8), 4)
    assert torch.equal(start, first.schedule.noisy(encoded.latent, plain, 199))


def test_enlarged_by_four_the_predictor_sees_the_photo_as_given(photo):
    given = photo[..., :33, :50]
    lq_image = LqImage.of(given, (132, 200), 16)
    encoded = reduced(lq_image, 4)
    assert encoded.shape[-2:] == (36, 52)
    assert torch.equal(encoded[..., :33, :50], given)
    assert torch.equal(encoded[..., 33:, :50], given[..., 29:32, :].flip(-2))
    window = Region(top=32, left=64, height=64, width=128)
    assert torch.equal(reduced(lq_image.part(window), 4), encoded[..., 8:24, 16:48])


@pytest.mark.parametrize("size", [(66, 100), (99, 150), (264, 400), (529, 801)])
def test_other_sizes_are_a_fourth_of_the_canvas(photo, size):
    lq_image = LqImage.of(photo[..., :33, :50], size, 16)
    encoded = reduced(lq_image, 4)
    assert encoded.shape[-2:] == (lq_image.region.height // 4, lq_image.region.width // 4)
    assert float(encoded.min()) >= 0
    assert float(encoded.max()) <= 1
    expected = photo[..., :33, :50].mean((-2, -1))
    inside = encoded[..., : -(-size[0] // 4), : -(-size[1] // 4)].mean((-2, -1))
    torch.testing.assert_close(inside, expected, atol=0.01, rtol=0)


def test_each_window_has_its_part_of_the_photo_and_of_the_noise(restorer, photo):
    lq_image = LqImage.of(photo[..., :48, :64], (192, 256), 16)
    windowed = Windowed(restorer=restorer, window_px=128, overlap_px=64)
    predictor, noise = restorer.parts.modules[PART], NOISE.at("start", 0, Region.whole(24, 32), 4)
    with torch.no_grad():
        windows = windowed.encode_lq(lq_image, None, NOISE)
        for encoded in windows:
            cells = latent_region(encoded.lq_image.region, 8)
            with restorer.prior.precision():
                predicted = predictor(photo[..., :48, :64][cells.scaled(2).slices], 199)
            expected = restorer.schedule.noisy(encoded.latent, predicted.sample(noise[cells.slices]), 199)
            torch.testing.assert_close(restorer.start(encoded, 199, NOISE), expected)
        start = windowed.start(windows, 199, NOISE)
    assert len(windows) == 6
    assert start.shape == noise.shape
    torch.testing.assert_close(start[..., :8, :8], restorer.start(windows[0], 199, NOISE)[..., :8, :8])


def test_the_paper_s_rule_differs_after_the_first_step_only(restorer, photo):
    lq_image = LqImage.of(photo[..., :16, :16], (64, 64), 16)
    one, two = (replace(PLAN, times=times_for(steps)) for steps in (1, 2))
    assert PLAN.step is deterministic
    same = [
        torch.equal(
            sample(restorer, lq_image, plan, NOISE).clean,
            sample(restorer, lq_image, replace(plan, step=ancestral), NOISE).clean,
        )
        for plan in (one, two)
    ]
    assert same == [True, False]


def test_gradients_reach_the_whole_predictor_through_the_prior(restorer, photo):
    lq_image = LqImage.of(photo[..., :16, :16].expand(2, -1, -1, -1), (64, 64), 16)
    noise = CanvasNoise(seeds=(1, 2))
    encoded = restorer.encode_lq(lq_image, None, noise)
    clean = restorer.denoise(restorer.start(encoded, 199, noise), 199, encoded)
    restorer.parts.modules.zero_grad()
    clean.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in restorer.parts.modules.parameters())


def test_guidance_moves_away_from_what_is_unwanted(restorer, photo):
    lq_image = LqImage.of(photo[..., :16, :16], (64, 64), 16)
    plan = PLAN
    plain, guided = (sample(restorer, lq_image, replace(plan, guidance=g), NOISE).clean for g in (1.0, 3.0))
    assert restorer.parts.negative_prompt
    assert not torch.equal(plain, guided)


def test_the_recipes_say_what_they_are():
    assert (INVSR.name, INVSR.prior, INVSR_SMALL.name, INVSR_SMALL.prior) == (
        "invsr",
        "sd-turbo",
        "invsr-small",
        "small",
    )
    for recipe in (INVSR, INVSR_SMALL):
        assert recipe.plan is not None
        assert recipe.plan.times == (199,)
        assert recipe.method is not None
        assert len(recipe.method.plan(Request(steps=5)).times) == 5


def test_a_predictor_of_published_kind_fits_any_prior(photo):
    predictor = PredictorSettings(widths=(16, 32), norm_groups=8, head_width=8)
    restorer = replace(SMALL_METHOD, predictor=predictor).build("tiny")
    assert isinstance(restorer.parts.start, PredictedNoise)
    clean = sample(
        restorer, LqImage.of(photo[..., :9, :14], (36, 56), 16), replace(PLAN, times=times_for(3)), NOISE
    ).clean
    assert clean.shape == (1, 4, 8, 8)
    assert clean.isfinite().all()


def test_each_photo_starts_at_a_trained_time_of_its_own(photo):
    objective = INVSR_SMALL.stage("inversion").objective
    training_step = objective.training_step(SMALL_METHOD.build("tiny"), None)
    drawn = torch.cat([training_step.rule.times(8, torch.Generator().manual_seed(seed)) for seed in range(8)])
    assert set(drawn.tolist()) == {249, 199, 149, 99}
    outcome = training_step(pair(photo), torch.Generator().manual_seed(0))
    outcome.loss.backward()
    assert all(p.grad is not None for p in training_step.trainable_modules[PART].parameters())


def test_the_published_stage_has_the_published_terms_and_discriminator():
    stage = INVSR.stage()
    objective = stage.objective
    assert [(term.name, term.weight) for term in objective.terms] == [("latent", 1.0)]
    assert (objective.latent_lpips, objective.adversarial_latent, objective.ea_dists) == (2.0, 0.1, 0.0)
    assert objective.adversarial_from * stage.steps == 10_000
    assert (stage.batch, stage.steps, stage.ema_decay) == (16, 100_000, 0.999)
    assert (stage.optimizer.learning_rate, stage.optimizer.warmup_steps) == (5e-5, 2_000)


def test_the_small_predictor_fits_ten_megabytes():
    predictor = INVSR_SMALL.method.build("small", "cpu").parts.modules[PART]
    assert sum(parameter.numel() for parameter in predictor.parameters()) == 4_174_912


def test_a_photo_token_is_a_part_that_changes_nothing_at_first(photo):
    lq_image = LqImage.of(photo[..., :16, :16], (64, 64), 16)
    plain, condition = (replace(SMALL_METHOD, photo_token=token).build("tiny") for token in (False, True))
    assert set(condition.parts.modules) == {PART, "hybrid", "image_prompt"}
    first, second = (sample(restorer, lq_image, PLAN, NOISE).clean for restorer in (plain, condition))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    blind = replace(tiny_prior(), image=None)
    with pytest.raises(InputError, match="needs an image encoder, which prior"):
        replace(SMALL_METHOD, photo_token=True).build(blind)


@pytest.mark.parametrize("table", ["invsr-prompt", "invsr-terms"])
def test_each_row_of_the_tables_can_be_trained(table, photo):
    for name, variant in ABLATIONS[table].items():
        stage = variant.trained({})
        training_step = stage.objective.training_step(stage.build("tiny"), None)
        training_step(pair(photo), torch.Generator().manual_seed(0), 0.0).loss.backward()
        trained = [p for part in training_step.trainable_modules.values() for p in part.parameters() if p.requires_grad]
        assert any(p.grad is not None for p in trained), name


def test_threads_change_nothing_that_can_be_seen(restorer, photo):
    upscaler, given = Upscaler(INVSR_SMALL, restorer), Photo(pixels=quantize(photo[..., :12, :16], np.uint8))
    request, threads, results = Request(seed=3, start=250), torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(upscaler.upscale(given, request).pixels.astype(int))
    finally:
        torch.set_num_threads(threads)
    assert np.abs(results[0] - results[1]).max() <= 1
