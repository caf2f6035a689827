from functools import partial

import pytest
import torch
from torch import nn

from sdsr.diffusion.curves import VariancePreserving
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.errors import InputError
from sdsr.methods.consissr.tala import TimeAware
from sdsr.methods.one_step.recipes import UNDECODED
from sdsr.objectives.noise_matching import NoiseMatching, noise_matching_loss, weight_in_pixels
from sdsr.objectives.training_step import Sample
from sdsr.prior.condition import Condition
from sdsr.prior.posterior import Posterior
from sdsr.prior.prior import Prior
from sdsr.prior.tiny import tiny_prior
from sdsr.restoration.restorer import Parts, Restorer, from_noise
from tests.tensors import seeded


class Advice(nn.Module):
    """A stand-in for a ControlNet: a learned bottleneck residual made from the noisy latent, and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.learned = nn.Conv2d(4, 32, 1)
        self.frozen = nn.Conv2d(4, 32, 1).requires_grad_(False)

    def forward(self, noisy: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(self.learned(noisy) + self.frozen(latent), 2)


class Advised:
    """A conditioner whose condition depends on the noisy latent; it notes what it was asked."""

    def __init__(self, advice: Advice) -> None:
        self.advice = advice
        self.prompts: list[str] = []
        self.latents: list[torch.Tensor] = []
        self.pictures: list[torch.Tensor] = []
        self.times: list[int | torch.Tensor] = []

    def __call__(self, prior, lq_image, latent):
        self.latents.append(latent)
        self.pictures.append(lq_image.enlarged())

        def condition_for(prompt):
            self.prompts.append(prompt)
            return partial(self.condition, prior, latent, prompt)

        return condition_for

    def condition(self, prior, latent, prompt, noisy, t):
        self.times.append(t)
        height, width = noisy.shape[-2:]
        skips = (
            torch.zeros(len(noisy), 32, height, width),
            torch.zeros(len(noisy), 32, height, width),
            torch.zeros(len(noisy), 32, height // 2, width // 2),
            torch.zeros(len(noisy), 32, height // 2, width // 2),
        )
        return Condition(prompt=prior.embed(prompt), residuals=(skips, self.advice(noisy, latent)))


@pytest.fixture
def sample(photo) -> Sample:
    hq = torch.cat([photo[..., :64, :64], photo[..., :64, 64:]])
    return Sample(hq=hq, lq=nn.functional.interpolate(hq, scale_factor=0.25, mode="area"))


@pytest.fixture
def restorer() -> Restorer:
    torch.manual_seed(0)
    advice = Advice()
    parts = Parts(
        conditioner=Advised(advice),
        start=from_noise,
        modules=nn.ModuleDict({"advice": advice}),
        prompt="clean",
        negative_prompt="degraded",
    )
    return Restorer(prior=tiny_prior(), parts=parts)


def test_the_loss_is_the_error_of_the_noise(sample, rng):
    prior = tiny_prior()
    clean = prior.encode(sample.hq)
    noise, t = torch.randn(clean.shape, generator=rng), torch.tensor([30, 700])
    noisy = prior.schedule.noisy(clean, noise, t)
    condition = Condition(prompt=prior.embed(["clean", ""]))
    errors = (prior.predict(noisy, t, condition) - noise).square().mean((0, 2, 3))
    loss = noise_matching_loss(prior, noisy, clean, t, condition)
    torch.testing.assert_close(loss, errors.mean())
    only_the_first = torch.eye(len(errors))[0][:, None, None]
    weighed = noise_matching_loss(prior, noisy, clean, t, condition, channels=only_the_first)
    torch.testing.assert_close(weighed, errors[0] / len(errors))


def test_channels_weigh_what_they_move_in_the_picture():
    """Each is asked alone, beside nothing, what one of it in one cell does."""
    prior = tiny_prior()
    weights = weight_in_pixels(prior).flatten()
    blank = torch.zeros(1, prior.channels, 7, 7)
    norms = []
    for channel in range(prior.channels):
        unit = blank.clone()
        unit[0, channel, 3, 3] = 1
        norms.append((prior.decode(unit) - prior.decode(blank)).norm())
    torch.testing.assert_close(weights, torch.stack(norms) / torch.stack(norms).mean())
    assert weights.mean().item() == pytest.approx(1)


def test_weighed_in_pixels_the_loss_is_another_and_the_measure_the_same(restorer, sample):
    plain, weighed = (NoiseMatching(in_pixels=chosen).training_step(restorer, None) for chosen in (False, True))
    assert plain(sample, seeded()).loss != weighed(sample, seeded()).loss
    with torch.no_grad():
        assert plain.measure(sample, seeded()) == weighed.measure(sample, seeded())


def test_training_shows_photos_mixed_with_their_hq_and_measuring_does_not(restorer, sample):
    training_step, condition = NoiseMatching(clearer=1.0).training_step(restorer, None), restorer.parts.conditioner
    training_step(sample, seeded())
    lq, seen = condition.pictures
    ratios = ((seen - lq) * (sample.hq - lq)).sum((1, 2, 3)) / (sample.hq - lq).square().sum((1, 2, 3))
    torch.testing.assert_close(seen, lq.lerp(sample.hq, ratios[:, None, None, None]), rtol=0, atol=1e-5)
    assert ((ratios > 0.01) & (ratios < 1)).all()
    assert ratios[0] != ratios[1]
    assert torch.equal(*condition.latents), "the latent stays that of the LQ photo"
    with torch.no_grad():
        training_step.measure(sample, seeded())
    assert all(torch.equal(picture, lq) for picture in condition.pictures[2:])


def test_a_share_of_the_photos_is_seen_clearer(restorer, sample):
    training_step, condition = NoiseMatching(clearer=0.5).training_step(restorer, None), restorer.parts.conditioner
    for seed in range(8):
        training_step(sample, seeded(seed))
    changed = torch.cat(
        [(condition.pictures[i] != condition.pictures[i + 1]).flatten(1).any(1) for i in range(0, 16, 2)]
    )
    assert 3 <= changed.sum() <= 13


def test_a_prior_of_velocity_learns_the_velocity_of_hq_and_of_the_noise_that_leads_to_it(rng):
    """Also where the noisy latent was made from another one."""
    schedule = NoiseSchedule.scaled_linear().predicting("v_prediction")
    prior = tiny_prior().adapted(schedule=schedule)
    hq, lq, noise = (torch.randn(2, 4, 8, 8, generator=rng) for _ in range(3))
    t, prompt = torch.tensor([600, 999]), prior.embed("")
    noisy = schedule.noisy(lq, noise, t)
    predicted = prior.unet(noisy, t, encoder_hidden_states=prompt.expand(2, -1, -1), return_dict=False)[0]
    wanted = schedule.target(hq, schedule.noise(noisy, hq, t), t)
    loss = noise_matching_loss(prior, noisy, hq, t, Condition(prompt=prompt))
    torch.testing.assert_close(loss, (predicted - wanted).square().mean(), rtol=1e-4, atol=0)


def test_a_prior_without_signal_at_its_end_learns_there_too():
    curves = VariancePreserving.scaled_linear().zero_terminal_snr()
    prior = tiny_prior().adapted(schedule=NoiseSchedule(curves=curves, prediction_type="v_prediction"))
    hq, noise, condition = torch.zeros(1, 4, 8, 8), torch.ones(1, 4, 8, 8), Condition(prompt=prior.embed(""))
    noisy, t = prior.schedule.noisy(hq, noise, 999), torch.tensor([999])
    loss = noise_matching_loss(
        prior, noisy, hq + 0.5, t, condition
    )  # where nothing is left, velocity is minus the clean
    torch.testing.assert_close(loss, (prior.predict(noisy, 999, condition) + 0.5).square().mean())


def test_only_what_the_method_lets_learn_gets_gradients(restorer, sample):
    training_step = NoiseMatching(source=TimeAware()).training_step(restorer, None)
    training_step(sample, seeded()).loss.backward()
    advice = restorer.parts.modules["advice"]
    assert training_step.trainable_modules == {"advice": advice}
    assert all(parameter.grad.any() for parameter in advice.learned.parameters())
    frozen = [*advice.frozen.parameters(), *restorer.prior.modules.parameters()]
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in frozen)
    assert {id(p) for p in training_step.parameters()} == {id(p) for p in advice.parameters()}


def test_evidence_is_asked_once_under_the_objectives_prompt_and_at_the_times_that_were_drawn(restorer, sample):
    condition = restorer.parts.conditioner
    NoiseMatching().training_step(restorer, None)(sample, seeded())
    assert condition.prompts == [""]
    (times,) = condition.times
    assert times.shape == (2,)
    assert times.unique().numel() == 2


def test_the_source_is_given_hq_and_lq_and_the_target_stays_hq(restorer, sample, monkeypatch):
    asked, noised = [], []

    def source(hq, lq, t, rng):
        asked.append((hq, lq))
        return lq

    def predict(self, noisy, t, condition):
        noised.append((noisy, t))
        return torch.zeros_like(noisy)

    monkeypatch.setattr(Prior, "predict", predict)
    outcome = NoiseMatching(source=source).training_step(restorer, None)(sample, seeded(2))
    ((hq, lq),), ((noisy, t),) = asked, noised
    torch.testing.assert_close(hq, restorer.prior.encode(sample.hq))
    assert lq is restorer.parts.conditioner.latents[0]
    assert not torch.allclose(hq, lq, atol=0.01)
    target = restorer.schedule.noise(noisy, hq, t)
    torch.testing.assert_close(outcome.loss, target.square().mean())
    assert (restorer.schedule.noise(noisy, lq, t).std() - 1).abs() < 0.1


def test_latents_are_posterior_samples_with_noise_of_their_own(restorer, sample, monkeypatch):
    drawn, latent = [], Posterior.latent
    monkeypatch.setattr(Posterior, "latent", lambda self, noise=None: drawn.append(noise) or latent(self, noise))
    NoiseMatching().training_step(restorer, None).rule.take(sample, seeded())
    of_lq, of_hq = drawn
    assert of_lq.shape == of_hq.shape == (2, 4, 8, 8)
    assert (of_lq * of_hq).mean().abs() < 0.2


def test_the_same_generator_gives_the_same_loss(restorer, sample):
    training_step = NoiseMatching(source=TimeAware()).training_step(restorer, None)
    losses = [training_step(sample, seeded(seed)).loss for seed in (3, 3, 4)]
    assert losses[0] == losses[1] != losses[2]


def test_a_few_steps_on_another_methods_parts_lower_the_loss(sample):
    restorer = UNDECODED.build("tiny")
    training_step = NoiseMatching(source=TimeAware()).training_step(restorer, None)
    trained = list(restorer.parts.modules.requires_grad_(True).parameters())
    optimizer, losses = torch.optim.Adam(trained, lr=1e-3), []
    for step in range(16):
        loss = training_step(sample, seeded(step % 2)).loss
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])


def test_figures_and_pictures_are_those_of_a_restoration_with_the_methods_own_prompts(restorer, sample):
    training_step = NoiseMatching(preview_steps=3, guidance=2.0).training_step(restorer, None)
    condition = restorer.parts.conditioner
    with torch.no_grad():
        figures = training_step.measure(sample, seeded())
        pictures = training_step.pictures(sample, seeded())
    assert set(figures) == {"noise_100", "noise_400", "noise_800", "psnr", "detail"}
    assert condition.prompts == ["", "clean", "degraded", "clean", "degraded"]
    assert condition.times[3:] == [999, 999, 500, 500, 0, 0] * 2
    assert list(pictures) == ["bicubic", "restored", "photo"]
    assert all(picture.shape == (2, 3, 64, 64) and picture.isfinite().all() for picture in pictures.values())


def test_crops_that_fit_no_latent_are_an_error(restorer, sample):
    training_step = NoiseMatching().training_step(restorer, None)
    for size in (60, 24):
        with pytest.raises(InputError, match=r"multiples of 8 px and at least 32 px; change crop_px"):
            training_step(Sample(hq=sample.hq[..., :size, :size], lq=sample.lq), seeded())


def test_photos_without_a_pair_are_our_mistake(restorer, sample):
    with pytest.raises(AssertionError, match="needs pairs"):
        NoiseMatching().training_step(restorer, None)(Sample(hq=sample.hq), seeded())
