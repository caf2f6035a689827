"""The schedule: diffusers' numbers, closed forms, one identity read in all directions, and both ends."""

import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from sdsr.diffusion.curves import FlowMatching, VariancePreserving
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.errors import InputError

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULE = NoiseSchedule.scaled_linear()
ZERO = NoiseSchedule(curves=VariancePreserving.scaled_linear().zero_terminal_snr(), prediction_type="v_prediction")
FLOW = NoiseSchedule.flow(shift=3.0)
KINDS = ("epsilon", "v_prediction", "sample", "flow_prediction")
TIMES = torch.arange(1000)
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
    alphas_cumprod = schedule.signal(TIMES[: schedule.steps]).square().float()
    torch.testing.assert_close(alphas_cumprod, scheduler.alphas_cumprod, rtol=3e-5, atol=2e-7)
    assert schedule.prediction_type == config.get("prediction_type", "epsilon")


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_agrees_with_diffusers(shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    schedule = NoiseSchedule.from_config(scheduler.config)
    assert schedule.prediction_type == "flow_prediction"
    backward = TIMES.flip(0)
    torch.testing.assert_close(schedule.sigma(backward).float(), scheduler.sigmas[:1000], rtol=1e-5, atol=0)
    torch.testing.assert_close(schedule.curves.timestep(backward).float(), scheduler.timesteps, rtol=1e-5, atol=0)
    clean, noise = pair()
    expected = scheduler.scale_noise(clean, scheduler.timesteps[[999, 579, 0]], noise)
    torch.testing.assert_close(schedule.noisy(clean, noise, T), expected, rtol=1e-5, atol=1e-5)


def test_scaled_linear_is_stable_diffusion():
    expected = NoiseSchedule.from_config(STABLE_DIFFUSION)
    assert torch.equal(SCHEDULE.signal(TIMES), expected.signal(TIMES))
    assert SCHEDULE.signal(999).item() ** 2 == pytest.approx(0.0046601, abs=1e-7)


@pytest.mark.parametrize("config", [{"beta_schedule": "squaredcos_cap_v2"}, {"prediction_type": "what"}])
def test_another_kind_of_schedule_is_an_error(config):
    with pytest.raises(InputError, match="must be one of"):
        NoiseSchedule.from_config(config)


def test_a_flow_whose_shift_depends_on_the_size_is_an_error():
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}
    with pytest.raises(InputError, match=r"use_dynamic_shifting \(=True\)"):
        NoiseSchedule.from_config(config)


def test_adding_noise_and_velocity_agree_with_diffusers():
    scheduler = DDPMScheduler(**STABLE_DIFFUSION)
    clean, noise = pair()
    torch.testing.assert_close(SCHEDULE.noisy(clean, noise, T), scheduler.add_noise(clean, noise, T), rtol=0, atol=5e-6)
    velocity = SCHEDULE.predicting("v_prediction").target(clean, noise, T)
    torch.testing.assert_close(velocity, scheduler.get_velocity(clean, noise, T), rtol=0, atol=5e-6)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_clean_estimates_agree_with_diffusers(kind):
    scheduler = DDPMScheduler(**STABLE_DIFFUSION, prediction_type=kind, clip_sample=False, variance_type="fixed_small")
    noisy, prediction = pair()
    for t in (0, 420, 999):
        expected = scheduler.step(prediction, t, noisy, generator=torch.Generator()).pred_original_sample
        found = SCHEDULE.predicting(kind).clean(prediction, noisy, t)
        torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)


def test_a_deterministic_flow_step_agrees_with_diffusers():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    noisy, flow = pair()
    expected = scheduler.step(flow, scheduler.timesteps[300], noisy).prev_sample
    clean = FLOW.clean(flow, noisy, 699)
    found = FLOW.noisy(clean, FLOW.noise(noisy, clean, 699), 698)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", [SCHEDULE, FLOW], ids=["variance preserving", "flow"])
@pytest.mark.parametrize("t", [0, 1, 420, 998, torch.tensor([0, 420, 998])])
def test_one_identity_is_read_in_all_directions(schedule, kind, t):
    schedule, (clean, noise) = schedule.predicting(kind), pair(torch.float64)
    noisy = schedule.noisy(clean, noise, t)
    torch.testing.assert_close(schedule.noise(noisy, clean, t), noise)
    torch.testing.assert_close(schedule.clean(schedule.target(clean, noise, t), noisy, t), clean)


@settings(max_examples=30, deadline=None)
@given(u=st.floats(0, 1, allow_subnormal=False), shift=st.floats(0.5, 12))
def test_flow_goes_straight_at_any_real_time(u: float, shift: float):
    curves, t = FlowMatching(shift=shift), 1000 * u - 1
    signal, sigma = curves.signal(t).item(), curves.sigma(t).item()
    assert signal + sigma == pytest.approx(1, abs=1e-12)
    assert sigma == pytest.approx(shift * u / (1 - u + shift * u), abs=1e-9)
    assert curves.timestep(t).item() == pytest.approx(1000 * sigma)


def test_one_time_means_that_time_for_all():
    clean, noise = pair()
    assert torch.equal(SCHEDULE.noisy(clean, noise, 420), SCHEDULE.noisy(clean, noise, torch.full((3,), 420)))


@pytest.mark.parametrize("schedule", [SCHEDULE, FLOW, *(FLOW.predicting(kind) for kind in KINDS)])
def test_half_precision_is_computed_in_full(schedule):
    clean, noise = pair(torch.bfloat16)
    for compute in (schedule.noisy, schedule.target):
        found = compute(clean, noise, T)
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, compute(clean.float(), noise.float(), T).bfloat16())


def test_zero_terminal_snr_leaves_only_noise_at_the_end():
    clean, noise = pair()
    assert torch.equal(ZERO.noisy(clean, noise, 999), noise)
    assert ZERO.signal(999).item() == 0
    expected = EulerDiscreteScheduler(**STABLE_DIFFUSION, rescale_betas_zero_snr=True).alphas_cumprod
    torch.testing.assert_close(ZERO.signal(TIMES[:999]).square().float(), expected[:999], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("schedule", "kinds"),
    [(ZERO, ("v_prediction", "sample")), (ZERO, ("flow_prediction",)), (FLOW, KINDS[1:])],
    ids=["velocity", "flow on it", "flow matching"],
)
def test_estimates_are_defined_where_no_signal_is_left(schedule, kinds):
    clean, noise = pair()
    for kind in kinds:
        told = schedule.predicting(kind)
        noisy = told.noisy(clean, noise, 999)
        torch.testing.assert_close(told.clean(told.target(clean, noise, 999), noisy, 999), clean)
        assert torch.equal(told.noise(noisy, clean, 999), noise)


@pytest.mark.parametrize("schedule", [ZERO, FLOW], ids=["zero terminal SNR", "flow"])
def test_noise_alone_gives_no_estimate_where_no_signal_is_left(schedule):
    _, noise = pair()
    with pytest.raises(InputError, match=r"t \(=999\) has no signal left.*predicts velocity"):
        schedule.predicting("epsilon").clean(noise, noise, 999)


def test_where_there_is_no_noise_predictions_give_the_clean_latent_and_noise_is_unknown():
    clean, noise = pair()
    for kind in KINDS:
        schedule = FLOW.predicting(kind)
        assert torch.equal(schedule.noisy(clean, noise, -1), clean)
        torch.testing.assert_close(schedule.clean(schedule.target(clean, noise, -1), clean, -1), clean)
    with pytest.raises(InputError, match=r"t \(=-1\) has no noise"):
        FLOW.noise(clean, clean, -1)


@pytest.mark.parametrize("schedule", [SCHEDULE, FLOW])
def test_snr_falls(schedule):
    assert ((schedule.signal(TIMES) / schedule.sigma(TIMES)).diff() < 0).all()


def test_snr_begins_at_the_first_beta():
    assert (SCHEDULE.signal(0) / SCHEDULE.sigma(0)).square().item() == pytest.approx((1 - 0.00085) / 0.00085)


@pytest.mark.parametrize("schedule", [SCHEDULE, FLOW])
@pytest.mark.parametrize("t", [-1.5, 1000, torch.tensor([0, 5, 1000]), float("nan")])
def test_a_time_outside_the_schedule_is_an_error(schedule, t):
    clean, noise = pair()
    with pytest.raises(InputError, match=r"must be in (0|-1) \.\.\. 999"):
        schedule.noisy(clean, noise, t)


def test_a_schedule_of_single_steps_has_nothing_between_them():
    with pytest.raises(InputError, match=r"t \(=4.5\) must be whole"):
        SCHEDULE.signal(4.5)
