"""The adversarial game: who gets gradients, what each view shows, both sides' losses written out."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from sdsr.discriminators.diffusion_unet import DiffusionDiscriminator
from sdsr.discriminators.patch import PatchDiscriminator
from sdsr.losses.adversarial import BCE, HINGE, discriminator_bce
from sdsr.losses.terms import StepRecord
from sdsr.methods.invsr.discriminator import LatentUnetDiscriminator
from sdsr.objectives.discriminator import CleanLatents, Discriminator, Discriminators, InTurn, NoisyLatents, Pixels
from sdsr.objectives.training_step import numbers
from sdsr.prior.tiny import tiny_prior
from sdsr.tensors import Region


@pytest.fixture
def both() -> Discriminators:
    """One of latents and one of pixels."""
    prior = tiny_prior()
    torch.manual_seed(0)
    network = DiffusionDiscriminator(deepcopy(prior.unet), train="all", heads_on=(0,), hidden=16)
    return Discriminators(
        Discriminator(network, NoisyLatents(prior.schedule), BCE),
        Discriminator(PatchDiscriminator((8, 8, 8, 8)), Pixels(), BCE),
    )


@pytest.fixture
def record() -> StepRecord:
    rng = torch.Generator().manual_seed(1)
    (real, real_image), (fake, fake_image) = (
        (torch.randn(2, 4, 8, 8, generator=rng), torch.rand(2, 3, 64, 64, generator=rng)) for _ in range(2)
    )
    fake_image.requires_grad_()
    return StepRecord(clean=fake.requires_grad_(), hq=real, image=lambda: fake_image, hq_image=real_image)


def fakes(record: StepRecord) -> tuple[torch.Tensor, torch.Tensor]:
    return record.clean, record.images()[0]


def test_generator_losses_give_gradients_to_the_fakes_and_none_to_the_weights(both, record, rng):
    losses = both.generator_losses(record, rng)
    assert tuple(losses) == both.kinds == ("latent", "image")
    torch.stack(tuple(losses.values())).sum().backward()
    assert all(fake.grad is not None and fake.grad.any() for fake in fakes(record))
    assert all(parameter.grad is None for parameter in both.parameters())
    assert all(parameter.requires_grad for parameter in both.parameters())


def test_weights_learn_again_even_after_an_error(both, record, rng, monkeypatch):
    frozen = next(both.each[0].parameters()).requires_grad_(False)
    before = [parameter.requires_grad for parameter in both.parameters()]
    monkeypatch.setattr(DiffusionDiscriminator, "forward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        both.generator_losses(record, rng)
    assert [parameter.requires_grad for parameter in both.parameters()] == before
    assert not frozen.requires_grad


def test_the_own_loss_teaches_the_weights_and_not_what_is_looked_at(both, record, rng):
    outcome = both(record.detached(), rng)
    outcome.loss.backward()
    missing = [name for name, parameter in both.named_parameters() if parameter.grad is None]
    assert missing == []
    assert all(fake.grad is None for fake in fakes(record))
    assert float(outcome.loss.detach()) == pytest.approx(sum(numbers(outcome.scalars).values()), rel=1e-5)


def test_of_those_in_turn_one_is_heard_and_learns(record, rng):
    torch.manual_seed(0)
    players = [Discriminator(PatchDiscriminator((8, 8, 8, 8)), Pixels(), BCE) for _ in range(2)]
    either = InTurn(*players).eval()  # or each look would move spectral norms on
    record = replace(record, turn=1)
    assert either.kinds == ("image",)
    assert torch.equal(either.generator_losses(record, rng)["image"], players[1].generator_losses(record, rng)["image"])
    either(record.detached(), rng).loss.backward()
    assert all(parameter.grad is None for parameter in players[0].parameters())
    assert all(parameter.grad is not None for parameter in players[1].parameters())
    assert {id(each) for each in either.parameters()} == {id(each) for one in players for each in one.parameters()}


def test_real_and_fake_are_noised_alike(both, record):
    """The loss of the one of latents, written out."""
    of_latents, rng = both.each[0], torch.Generator().manual_seed(8)
    t = torch.randint(1000, (2,), generator=rng)
    noise = torch.randn(2, 4, 8, 8, generator=rng)
    sides = (tiny_prior().schedule.noisy(side, noise, t) for side in (record.hq, record.clean))
    expected = discriminator_bce(*(of_latents.network(side, t) for side in sides))
    outcome = of_latents(record.detached(), torch.Generator().manual_seed(8))
    torch.testing.assert_close(outcome.loss, expected)
    assert list(outcome.scalars) == ["latent"]


def test_they_learn_to_tell_real_from_fake(both, record):
    optimizer, losses = torch.optim.Adam(both.parameters(), lr=2e-3), []
    for step in range(15):
        loss = both(record.detached(), torch.Generator().manual_seed(step % 2)).loss
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


def test_clean_latents_are_looked_at_as_they_are_at_their_time(record, rng):
    """InvSR's losses, written out: hinge, the fakes limited to 10, the prompt the same for all."""
    torch.manual_seed(0)
    network = LatentUnetDiscriminator(
        widths=(16, 16, 24), attention_heads=(2, 4, 6), context_width=32, norm_groups=8, pooling_heads=8
    )
    context = torch.randn(1, 3, 32)
    discriminator = Discriminator(network, CleanLatents(context, 10.0), HINGE)
    record = replace(record, clean=(40 * record.clean).detach(), t=torch.tensor([249, 99]))
    context = context.expand(2, -1, -1)
    real = network(record.hq, record.t, context)
    fake = network(record.clean.clamp(-10, 10), record.t, context)
    expected = sum((1 - r).relu().mean() + (1 + f).relu().mean() for r, f in zip(real, fake, strict=True)) / 8
    torch.testing.assert_close(discriminator(record, rng).loss, expected)
    torch.testing.assert_close(discriminator.generator_losses(record, rng)["latent"], -sum(f.mean() for f in fake) / 4)
    with pytest.raises(AssertionError, match="asks at which times"):
        discriminator(replace(record, t=None), rng)


def test_pixels_are_those_of_the_window(record, rng):
    seen = []

    class Noting(nn.Module):
        def forward(self, image):
            seen.append(image)
            return [image.mean((1, 2, 3))]

    window = Region(top=3, left=5, height=40, width=48)
    Discriminator(Noting(), Pixels(), HINGE)(replace(record, window=window), rng)
    fake, real = record.images()
    for shown, whole in zip(seen, (real, fake), strict=True):
        assert torch.equal(shown, whole[..., 3:43, 5:53])


def test_a_teachers_pictures_can_be_the_real_ones(both, record, rng):
    view = Pixels(real="teacher")
    taught = replace(record, teacher_image=torch.rand(2, 3, 64, 64), window=Region(top=3, left=5, height=40, width=48))
    (real,), (fake,) = view(taught, rng)
    assert torch.equal(real, taught.teacher_image[..., 3:43, 5:53])
    assert torch.equal(fake, record.images()[0][..., 3:43, 5:53])
    with pytest.raises(AssertionError, match="no teacher's picture"):
        view(record, rng)


def test_names_in_checkpoints_stay(both):
    """One alone is `discriminator`; of several each is behind what it looks at."""
    alone = both.each[1]
    assert {name.split(".")[0] for name in alone.state_dict()} == {"network"}
    assert {name.split(".")[1] for name in both.state_dict()} == {"network"}
    assert {name.split(".")[0] for name in both.state_dict()} == {"latent", "image"}


def test_two_that_look_at_the_same_are_our_mistake(both):
    with pytest.raises(AssertionError, match="two discriminators look at the image"):
        Discriminators(both.each[1], both.each[1])
