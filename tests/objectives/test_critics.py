from copy import deepcopy

import pytest
import torch

from sdsr.critics.diffusion_unet import DiffusionCritic
from sdsr.critics.patch import PatchCritic
from sdsr.losses.adversarial import critic_bce
from sdsr.objectives.critics import Critics
from sdsr.objectives.learner import Judged
from sdsr.prior.tiny import tiny_prior


@pytest.fixture
def critics() -> Critics:
    prior = tiny_prior()
    torch.manual_seed(0)
    latent = DiffusionCritic(deepcopy(prior.unet), train="all", heads_on=(0,), hidden=16)
    return Critics(prior.schedule, latent, PatchCritic((8, 8, 8, 8)))


@pytest.fixture
def judged() -> Judged:
    rng = torch.Generator().manual_seed(1)
    sides = [
        {"latent": torch.randn(2, 4, 8, 8, generator=rng), "image": torch.rand(2, 3, 64, 64, generator=rng)}
        for _ in range(2)
    ]
    return Judged(fake={name: value.requires_grad_() for name, value in sides[0].items()}, real=sides[1])


def test_an_opinion_gives_gradients_to_the_fakes_and_none_to_the_weights(critics, judged, rng):
    opinions = critics.opinion(judged.fake, rng)
    assert set(opinions) == {"latent", "image"}
    torch.stack(tuple(opinions.values())).sum().backward()
    assert all(fake.grad is not None and fake.grad.any() for fake in judged.fake.values())
    assert all(parameter.grad is None for parameter in critics.parameters())
    assert all(parameter.requires_grad for parameter in critics.parameters())


def test_weights_learn_again_even_after_an_error(critics, judged, rng, monkeypatch):
    frozen = next(critics.image.parameters()).requires_grad_(False)
    before = [parameter.requires_grad for parameter in critics.parameters()]
    monkeypatch.setattr(Critics, "_noisy", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        critics.opinion(judged.fake, rng)
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
    sides = (critics.schedule.noisy(side["latent"], noise, t) for side in (judged.real, judged.fake))
    expected = critic_bce(*(critics.latent(side, t) for side in sides))
    outcome = critics(judged.detached(), torch.Generator().manual_seed(8))
    torch.testing.assert_close(outcome.loss, expected)
    assert not critics.sees_images


def test_smoothness_adds_a_penalty(critics, judged):
    plain = critics(judged.detached(), torch.Generator().manual_seed(0)).loss
    critics.smoothness = 0.5
    outcome = critics(judged.detached(), torch.Generator().manual_seed(0))
    assert outcome.scalars["smoothness"] > 0
    torch.testing.assert_close(outcome.loss, plain + 0.5 * outcome.scalars["smoothness"])


def test_critics_learn_to_tell_real_from_fake(critics, judged):
    optimizer, losses = torch.optim.Adam(critics.parameters(), lr=2e-3), []
    for step in range(15):
        loss = critics(judged.detached(), torch.Generator().manual_seed(step % 2)).loss
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]
