from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from sdsr.critics.diffusion_unet import DiffusionCritic
from sdsr.critics.latent_unet import LatentUnetCritic
from sdsr.critics.patch import PatchCritic
from sdsr.losses.adversarial import critic_bce
from sdsr.objectives.critics import CleanLatents, Critics, NoisedLatents, Pixels
from sdsr.objectives.learner import Judged
from sdsr.prior.tiny import tiny_prior


@pytest.fixture
def critics() -> Critics:
    prior = tiny_prior()
    torch.manual_seed(0)
    latent = DiffusionCritic(deepcopy(prior.unet), train="all", heads_on=(0,), hidden=16)
    return Critics(NoisedLatents(prior.schedule, latent), Pixels(PatchCritic((8, 8, 8, 8))))


@pytest.fixture
def judged() -> Judged:
    rng = torch.Generator().manual_seed(1)
    sides = [
        {"latent": torch.randn(2, 4, 8, 8, generator=rng), "image": torch.rand(2, 3, 64, 64, generator=rng)}
        for _ in range(2)
    ]
    return Judged(fake={name: value.requires_grad_() for name, value in sides[0].items()}, real=sides[1])


def test_an_opinion_gives_gradients_to_the_fakes_and_none_to_the_weights(critics, judged, rng):
    opinions = critics.opinion(judged, rng)
    assert set(opinions) == {"latent", "image"}
    torch.stack(tuple(opinions.values())).sum().backward()
    assert all(fake.grad is not None and fake.grad.any() for fake in judged.fake.values())
    assert all(parameter.grad is None for parameter in critics.parameters())
    assert all(parameter.requires_grad for parameter in critics.parameters())


def test_weights_learn_again_even_after_an_error(critics, judged, rng, monkeypatch):
    frozen = next(critics.image.parameters()).requires_grad_(False)
    before = [parameter.requires_grad for parameter in critics.parameters()]
    monkeypatch.setattr(NoisedLatents, "_draws", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        critics.opinion(judged, rng)
    assert [parameter.requires_grad for parameter in critics.parameters()] == before
    assert not frozen.requires_grad


def test_the_critics_own_loss_teaches_the_weights_and_not_what_is_judged(critics, judged, rng):
    outcome = critics(judged.detached(), rng)
    outcome.loss.backward()
    missing = [name for name, parameter in critics.named_parameters() if parameter.grad is None]
    assert missing == []
    assert all(fake.grad is None for fake in judged.fake.values())
    assert float(outcome.loss.detach()) == pytest.approx(sum(outcome.scalars.values()), rel=1e-5)


def test_real_and_fake_are_noised_alike(critics, judged):
    """The latent critic's loss, written out."""
    critics.image, rng = None, torch.Generator().manual_seed(8)
    t = torch.randint(1000, (2,), generator=rng)
    noise = torch.randn(2, 4, 8, 8, generator=rng)
    sides = (tiny_prior().schedule.noisy(side["latent"], noise, t) for side in (judged.real, judged.fake))
    expected = critic_bce(*(critics.latent.critic(side, t) for side in sides))
    outcome = critics(judged.detached(), torch.Generator().manual_seed(8))
    torch.testing.assert_close(outcome.loss, expected)
    assert not critics.sees_images


def test_smoothness_adds_a_penalty(critics, judged):
    plain = critics(judged.detached(), torch.Generator().manual_seed(0)).loss
    critics.latent.smoothness = 0.5
    outcome = critics(judged.detached(), torch.Generator().manual_seed(0))
    assert outcome.scalars["latent_smoothness"] > 0
    torch.testing.assert_close(outcome.loss, plain + outcome.scalars["latent_smoothness"])


def test_critics_learn_to_tell_real_from_fake(critics, judged):
    optimizer, losses = torch.optim.Adam(critics.parameters(), lr=2e-3), []
    for step in range(15):
        loss = critics(judged.detached(), torch.Generator().manual_seed(step % 2)).loss
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


@pytest.fixture
def clean_critics() -> Critics:
    torch.manual_seed(0)
    critic = LatentUnetCritic(
        widths=(16, 16, 24), attention_heads=(2, 4, 6), context_width=32, norm_groups=8, pooling_heads=8
    )
    return Critics(CleanLatents(critic, torch.randn(1, 3, 32)))


def test_clean_latents_are_judged_as_they_are_at_their_time(clean_critics, judged, rng):
    """InvSR's losses, written out: hinge, the fakes limited to 10, the prompt the same for all."""
    judged = replace(judged, t=torch.tensor([249, 99]))
    judged.fake["latent"] = (40 * judged.fake["latent"]).detach()
    critic, context = clean_critics.latent.critic, clean_critics.latent.context.expand(2, -1, -1)
    real = critic(judged.real["latent"], judged.t, context)
    fake = critic(judged.fake["latent"].clamp(-10, 10), judged.t, context)
    expected = sum((1 - r).relu().mean() + (1 + f).relu().mean() for r, f in zip(real, fake, strict=True)) / 8
    torch.testing.assert_close(clean_critics(judged, rng).loss, expected)
    opinion = clean_critics.opinion(judged, rng)["latent"]
    torch.testing.assert_close(opinion, -sum(f.mean() for f in fake) / 4)
    assert "latent.context" not in clean_critics.state_dict()
    with pytest.raises(AssertionError, match="asks at which times"):
        clean_critics(replace(judged, t=None), rng)
