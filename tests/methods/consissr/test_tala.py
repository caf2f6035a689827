from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.errors import InputError
from sdsr.methods.consissr.tala import TimeAware
from sdsr.methods.settings import with_settings
from sdsr.objectives.noise_matching import noise_matching_loss, plain
from sdsr.prior.condition import Condition
from sdsr.prior.prior import Prior
from sdsr.prior.tiny import tiny_prior

GOLDEN = load_file(Path(__file__).parents[2] / "golden/consissr_tala/io.safetensors")
HQ, LQ, NOISE, T = GOLDEN["hq_latent"], GOLDEN["lq_latent"], GOLDEN["noise"], GOLDEN["timesteps"].long()
SCHEDULE = NoiseSchedule.scaled_linear()
ALL_TIMES = torch.arange(1000)


def check(mask, noisy, target, chosen, r):
    """Masks exactly, noisy latents and targets within the recorded tolerances."""
    source, t = TimeAware(), T[chosen]
    assert torch.equal(source.replaces(t, r), mask.bool())
    ours = SCHEDULE.noisy(source.mixed(HQ[chosen], LQ[chosen], t, r), NOISE[chosen], t)
    torch.testing.assert_close(ours, noisy, rtol=0, atol=1e-5)
    torch.testing.assert_close(SCHEDULE.noise(ours, HQ[chosen], t), target, rtol=0, atol=2e-5)


@pytest.mark.parametrize("run", range(5))
def test_one_random_number_for_a_batch_gives_the_published_input_and_target(run):
    names = ("replace_mask_batch", "x_noisy_batch", "target_batch")
    check(*(GOLDEN[name][run] for name in names), slice(None), GOLDEN["r_batch"][run : run + 1])


def test_a_random_number_for_each_item_gives_the_published_input_and_target():
    names = ("replace_mask_item", "x_noisy_item", "target_item")
    assert 0 < GOLDEN["replace_mask_item"].sum() < 8
    check(*(GOLDEN[name] for name in names), slice(None), GOLDEN["r_item"])


@pytest.mark.parametrize("run", range(5))
def test_the_loss_is_the_published_one(run, monkeypatch):
    monkeypatch.setattr(Prior, "predict", lambda self, noisy, t, condition: 0.3 * noisy + 0.1 * LQ)
    prior = tiny_prior()
    noisy = SCHEDULE.noisy(TimeAware().mixed(HQ, LQ, T, GOLDEN["r_batch"][run : run + 1]), NOISE, T)
    loss = noise_matching_loss(prior, noisy, HQ, T, Condition(prompt=prior.embed("")))
    torch.testing.assert_close(loss, GOLDEN["loss_batch_toy"][run], rtol=1e-5, atol=0)


def test_the_probability_is_the_published_one():
    ours = TimeAware().probability(ALL_TIMES).float()
    torch.testing.assert_close(ours, GOLDEN["p_of_t"], rtol=1e-6, atol=0)
    assert TimeAware(gamma=1).probability(torch.tensor([250])).item() == pytest.approx(0.25)


def test_the_linear_ablation_is_zero_up_to_600_and_tends_to_one():
    probability = TimeAware(shape="linear").probability(ALL_TIMES)
    assert not probability[:601].any()
    assert probability[800] == pytest.approx(0.5)
    assert (probability[601:].diff() > 0).all()
    assert probability[999] == pytest.approx(0.9975)


def test_the_target_of_what_was_replaced_is_noise_and_the_way_back_to_hq():
    """eps + sqrt(ab / (1 - ab)) (z_LQ - z_HQ)."""
    noisy = SCHEDULE.noisy(TimeAware().mixed(HQ, LQ, T, torch.zeros(1)), NOISE, T)
    gain = (SCHEDULE.signal(T) / SCHEDULE.sigma(T)).float().view(-1, 1, 1, 1)
    replaced = (T > 0).view(-1, 1, 1, 1)
    expected = torch.where(replaced, NOISE + gain * (LQ - HQ), NOISE)
    torch.testing.assert_close(SCHEDULE.noise(noisy, HQ, T), expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("t", [900, 600, 999])
def test_drawn_for_each_item_the_share_that_is_replaced_is_the_probability(t, rng):
    count = 20_000
    hq, lq = torch.zeros(count, 1, 1, 1), torch.ones(count, 1, 1, 1)
    share = TimeAware()(hq, lq, torch.full((count,), t), rng).mean().item()
    expected = TimeAware().probability(torch.tensor([t])).item()
    assert share == pytest.approx(expected, abs=4 * (expected * (1 - expected) / count) ** 0.5)


def test_drawn_for_a_batch_items_of_one_time_are_replaced_together(rng):
    hq, lq, t = torch.zeros(8, 1, 1, 1), torch.ones(8, 1, 1, 1), torch.full((8,), 930)
    shares = [TimeAware(per="batch")(hq, lq, t, rng).mean().item() for _ in range(40)]
    assert set(shares) == {0.0, 1.0}
    assert any(0 < TimeAware()(hq, lq, t, rng).mean() < 1 for _ in range(10))


def test_plain_is_the_hq_latent(rng):
    assert plain(HQ, LQ, T, rng) is HQ


@pytest.mark.parametrize(
    ("setting", "message"), [({"gamma": 0}, "above 0"), ({"shape": "cubic"}, "one of"), ({"per": "run"}, "one of")]
)
def test_impossible_settings_are_errors(setting, message):
    """Asked of the check itself, since the suite's type checker would be first to refuse a wrong word."""
    settings = SimpleNamespace(**({"gamma": 10.0, "shape": "power", "per": "sample"} | setting))
    with pytest.raises(InputError, match=message):
        TimeAware.__post_init__(settings)


def test_settings_change_by_name():
    assert with_settings(TimeAware(), {"gamma": "5", "shape": "linear"}) == TimeAware(gamma=5.0, shape="linear")
