from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler
from safetensors.torch import load_file

from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.diffusion.steps import ancestral, deterministic, renoise
from sdsr.diffusion.times import spaced, trailing

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
GOLDEN = load_file(Path(__file__).parents[1] / "golden/spaced_sampler/io.safetensors")
SCHEDULE = NoiseSchedule.scaled_linear()
SHAPE = (2, 4, 5, 6)


def toy_noise(x, condition="cond"):
    return 0.3 * x + 0.1 * GOLDEN[condition]


def guided_noise(x):
    return toy_noise(x, "uncond") + 5 * (toy_noise(x) - toy_noise(x, "uncond"))


def drawn(seed):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def never():
    raise AssertionError("a deterministic step draws no noise")


def sampled(step, times, denoised):
    """Return the latents after each step of the loop; the last is the clean estimate."""
    noisy, trajectory = GOLDEN["x_T"], []
    for index, (t, to) in enumerate(pairwise((*times, None))):
        clean = SCHEDULE.clean(denoised(noisy), noisy, t)
        if to is None:
            return torch.cat([*trajectory, clean])
        noisy = step(SCHEDULE, noisy, clean, t, to, GOLDEN[f"noises_{len(times)}"][index : index + 1])
        trajectory.append(noisy)
    raise AssertionError("no times")


@pytest.mark.parametrize("count", [4, 50])
def test_ancestral_coefficients_are_the_published_ones(count):
    times, one, zero = spaced(count), torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, 1).double()
    for position, (to, t) in enumerate(pairwise(reversed(times)), start=1):
        of_clean = ancestral(SCHEDULE, zero, one, t, to, zero).item()
        of_noisy = ancestral(SCHEDULE, one, zero, t, to, zero).item()
        deviation = ancestral(SCHEDULE, zero, zero, t, to, one).item()
        assert of_clean == pytest.approx(GOLDEN[f"posterior_mean_coef1_{count}"][position].item(), rel=1e-6)
        assert of_noisy == pytest.approx(GOLDEN[f"posterior_mean_coef2_{count}"][position].item(), rel=1e-6)
        assert deviation**2 == pytest.approx(GOLDEN[f"posterior_variance_{count}"][position].item(), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "step", "denoised"),
    [
        ("trajectory_4", ancestral, toy_noise),
        ("trajectory_50", ancestral, toy_noise),
        ("trajectory_4_cfg5", ancestral, guided_noise),
        ("trajectory_4_fixed_large", partial(ancestral, variance="fixed_large"), toy_noise),
    ],
)
def test_ancestral_trajectories_are_the_published_ones(name, step, denoised):
    golden = GOLDEN[name]
    torch.testing.assert_close(sampled(step, spaced(len(golden)), denoised), golden, rtol=0, atol=1e-4)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_ancestral_agrees_with_diffusers(variance):
    scheduler = DDPMScheduler(
        **STABLE_DIFFUSION, timestep_spacing="linspace", variance_type=variance, clip_sample=False
    )
    scheduler.set_timesteps(50)
    times = spaced(50)
    assert tuple(scheduler.timesteps.tolist()) == times
    ours, theirs = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    noisy = expected = drawn(1)
    for t, to in pairwise(times):
        clean = SCHEDULE.clean(0.3 * noisy, noisy, t)
        noisy = ancestral(SCHEDULE, noisy, clean, t, to, lambda: torch.randn(SHAPE, generator=ours), variance=variance)
        expected = scheduler.step(0.3 * expected, t, expected, generator=theirs, return_dict=False)[0]
        torch.testing.assert_close(noisy, expected, rtol=1e-5, atol=2e-5)


def test_deterministic_agrees_with_ddim():
    scheduler = DDIMScheduler(**STABLE_DIFFUSION, timestep_spacing="trailing", clip_sample=False)
    scheduler.set_timesteps(20)
    times = trailing(20)
    assert tuple(scheduler.timesteps.tolist()) == times
    noisy = expected = drawn(1)
    for t, to in pairwise(times):
        noisy = deterministic(SCHEDULE, noisy, SCHEDULE.clean(0.3 * noisy, noisy, t), t, to, never)
        expected = scheduler.step(0.3 * expected, t, expected, eta=0.0, return_dict=False)[0]
        torch.testing.assert_close(noisy, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # raised within diffusers
def test_deterministic_is_eulers_step_in_sigma():
    scheduler = EulerDiscreteScheduler(**STABLE_DIFFUSION)
    times = (249, 199, 149, 99, 49)
    scheduler.set_timesteps(timesteps=list(times))
    noisy = drawn(1)
    expected = noisy / SCHEDULE.signal(times[0]).float()
    for t, to in pairwise(times):
        noisy = deterministic(SCHEDULE, noisy, SCHEDULE.clean(0.3 * noisy, noisy, t), t, to, never)
        seen = scheduler.scale_model_input(expected, torch.tensor(float(t)))
        expected = scheduler.step(0.3 * seen, torch.tensor(float(t)), expected, return_dict=False)[0]
        torch.testing.assert_close(noisy, expected * SCHEDULE.signal(to).float(), rtol=1e-5, atol=2e-5)


def test_renoise_forgets_what_was_noisy():
    clean, noise = drawn(1), drawn(2)
    expected = SCHEDULE.noisy(clean, noise, 249)
    for noisy in (drawn(3), drawn(4)):
        result = renoise(SCHEDULE, noisy, clean, 499, 249, noise)
        torch.testing.assert_close(result, expected, rtol=0, atol=0)


@pytest.mark.parametrize("step", [ancestral, deterministic, renoise])
def test_a_perfect_estimate_keeps_the_marginals(step):
    """Mean sqrt(alpha_bar(to)) clean and variance 1 - alpha_bar(to), whatever the rule."""
    rng = torch.Generator().manual_seed(0)
    clean = torch.full((1, 1, 400, 400), 2.0)
    noisy = SCHEDULE.noisy(clean, torch.randn(clean.shape, generator=rng), 600)
    result = step(SCHEDULE, noisy, clean, 600, 300, torch.randn(clean.shape, generator=rng))
    alpha_bar = SCHEDULE.signal(300).square().item()
    assert result.mean().item() == pytest.approx(2 * alpha_bar**0.5, abs=0.01)
    assert result.var().item() == pytest.approx(1 - alpha_bar, rel=0.02)
