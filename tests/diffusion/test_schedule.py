import pytest
import torch
from diffusers import DDPMScheduler

from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.errors import InputError

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULE = NoiseSchedule.scaled_linear()
T = torch.tensor([0, 420, 999])


def pair(dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)
    return (torch.randn(3, 4, 5, 6, generator=rng).to(dtype) for _ in range(2))


@pytest.mark.parametrize(
    "config",
    [
        STABLE_DIFFUSION,
        {},
        {**STABLE_DIFFUSION, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
        {"trained_betas": [0.1, 0.2, 0.3], "num_train_timesteps": 3},
    ],
)
def test_from_config_agrees_with_diffusers(config):
    scheduler = DDPMScheduler(**config)
    schedule = NoiseSchedule.from_config(scheduler.config)
    torch.testing.assert_close(schedule.alphas_cumprod.float(), scheduler.alphas_cumprod, rtol=3e-5, atol=2e-7)
    assert schedule.prediction_type == config.get("prediction_type", "epsilon")


def test_scaled_linear_is_stable_diffusion():
    expected = NoiseSchedule.from_config(STABLE_DIFFUSION).alphas_cumprod
    torch.testing.assert_close(SCHEDULE.alphas_cumprod, expected, rtol=0, atol=0)
    assert SCHEDULE.alphas_cumprod[999] == pytest.approx(0.0046601, abs=1e-7)


@pytest.mark.parametrize("config", [{"beta_schedule": "squaredcos_cap_v2"}, {"prediction_type": "sample"}])
def test_another_kind_of_schedule_is_an_error(config):
    with pytest.raises(InputError, match="must be one of"):
        NoiseSchedule.from_config(config)


def test_adding_noise_and_velocity_agree_with_diffusers():
    scheduler = DDPMScheduler(**STABLE_DIFFUSION)
    clean, noise = pair()
    torch.testing.assert_close(SCHEDULE.noisy(clean, noise, T), scheduler.add_noise(clean, noise, T), rtol=0, atol=5e-6)
    velocity = scheduler.get_velocity(clean, noise, T)
    torch.testing.assert_close(SCHEDULE.velocity(clean, noise, T), velocity, rtol=0, atol=5e-6)


@pytest.mark.parametrize("t", [0, 1, 420, 999, T])
def test_one_identity_has_three_readings(t):
    clean, noise = pair(torch.float64)
    noisy = SCHEDULE.noisy(clean, noise, t)
    torch.testing.assert_close(SCHEDULE.clean(noisy, noise, t), clean)
    torch.testing.assert_close(SCHEDULE.noise(noisy, clean, t), noise)


@pytest.mark.parametrize("t", [0, 420, T])
def test_velocity_determines_clean_and_noise(t):
    clean, noise = pair(torch.float64)
    noisy, velocity = SCHEDULE.noisy(clean, noise, t), SCHEDULE.velocity(clean, noise, t)
    torch.testing.assert_close(SCHEDULE.noise_from_velocity(noisy, velocity, t), noise)
    torch.testing.assert_close(SCHEDULE.clean_from_velocity(noisy, velocity, t), clean)


def test_one_time_means_that_time_for_all():
    clean, noise = pair()
    torch.testing.assert_close(
        SCHEDULE.noisy(clean, noise, 420), SCHEDULE.noisy(clean, noise, torch.full((3,), 420)), rtol=0, atol=0
    )


def test_half_precision_is_computed_in_full():
    clean, noise = pair(torch.bfloat16)
    noisy = SCHEDULE.noisy(clean, noise, T)
    assert noisy.dtype == torch.bfloat16
    torch.testing.assert_close(noisy, SCHEDULE.noisy(clean.float(), noise.float(), T).bfloat16(), rtol=0, atol=0)


def test_zero_terminal_snr_leaves_only_noise_at_the_end():
    schedule = SCHEDULE.zero_terminal_snr()
    clean, noise = pair()
    torch.testing.assert_close(schedule.noisy(clean, noise, 999), noise, rtol=0, atol=0)
    assert schedule.snr(999).item() == 0
    with pytest.raises(InputError, match="no signal"):
        schedule.clean(noise, noise, 999)
    velocity = schedule.velocity(clean, noise, 999)
    torch.testing.assert_close(schedule.clean_from_velocity(noise, velocity, 999), clean)


def test_snr_falls():
    snr = SCHEDULE.snr(torch.arange(1000))
    assert (snr.diff() < 0).all()
    assert snr[0].item() == pytest.approx((1 - 0.00085) / 0.00085)


@pytest.mark.parametrize("t", [-1, 1000, torch.tensor([0, 5, 1000])])
def test_a_time_outside_the_schedule_is_an_error(t):
    clean, noise = pair()
    with pytest.raises(InputError, match=r"must be in 0 \.\.\. 999"):
        SCHEDULE.noisy(clean, noise, t)
