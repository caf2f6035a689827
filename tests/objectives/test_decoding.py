"""Decoding: what learns at which end, latents made once, crops that lie together, and what the terms are held to."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn.functional import interpolate

from sdsr.diffusion.noise import CanvasNoise
from sdsr.losses.terms import Term, against_teacher, image_l1, of_faithful
from sdsr.methods.decoder_stages import BOTH, DETAILED, FAITHFUL
from sdsr.methods.guided_decoding import DECODER, DecoderSettings
from sdsr.methods.one_step.recipes import WHOLE, image_discriminator
from sdsr.methods.one_step.small import PLAN, SmallOneStep
from sdsr.objectives.decoding import Decoding
from sdsr.objectives.pairs import lq_image_of
from sdsr.objectives.restorer_step import RestorerStep
from sdsr.objectives.training_step import Sample, numbers
from sdsr.restoration.sample import sample as restore
from tests.tensors import seeded

OBJECTIVE = Decoding(plan=PLAN, crop_px=32)


@pytest.fixture
def sample(photo) -> Sample:
    hq = torch.cat([photo[..., :64, :64], photo[..., :64, 64:]])
    lq = interpolate(hq, scale_factor=0.25, mode="bicubic", antialias=True).clamp(0, 1)
    return Sample(hq=hq, lq=lq, teacher=hq.flip(-1), numbers=(4, 9))


def training_step_of(objective: Decoding = OBJECTIVE, discriminator: bool = False) -> RestorerStep:
    torch.manual_seed(0)
    restorer = SmallOneStep(decoder=DecoderSettings(width=8, blocks=1)).build("tiny")
    learns = WHOLE if objective.whole else {"detailed": DETAILED, "faithful": FAITHFUL, "both": BOTH}[objective.end]
    learns.apply(dict(restorer.parts.modules.items()))
    return objective.training_step(restorer, image_discriminator(restorer) if discriminator else None)


@pytest.mark.parametrize(
    ("end", "learns"),
    [("detailed", {"detailed", "blocks", "from_photo", "from_latent", "gathered"}), ("faithful", {"faithful"})],
)
def test_one_end_learns_and_all_else_stays(sample, end, learns):
    training_step = training_step_of(replace(OBJECTIVE, end=end))
    training_step(sample, seeded()).loss.backward()
    moved = {
        (part, name.split(".")[0])
        for part, module in training_step.trainable_modules.items()
        for name, parameter in module.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }
    assert moved == {(DECODER, name) for name in learns}


def test_both_ends_learn_at_once_and_the_faithful_one_changes_no_features(sample):
    both = (*OBJECTIVE.terms, Term(name="faithful", weight=3.0, function=partial(of_faithful, image_l1)))
    gradients = {}
    for end, terms in (("detailed", OBJECTIVE.terms), ("both", both)):
        training_step = training_step_of(replace(OBJECTIVE, end=end, terms=terms))
        training_step.trainable_modules[DECODER].requires_grad_(True)
        training_step(sample, seeded()).loss.backward()
        named = training_step.trainable_modules[DECODER].named_parameters()
        gradients[end] = {name: parameter.grad for name, parameter in named}
    assert gradients["both"].keys() == gradients["detailed"].keys()
    for name, gradient in gradients["both"].items():
        if name.startswith("faithful."):
            assert gradients["detailed"][name] is None
            assert gradient is not None
        else:
            assert torch.equal(gradient, gradients["detailed"][name])


def test_latents_are_those_of_all_steps(sample):
    plan = replace(PLAN, times=(199, 99))
    rule = training_step_of(replace(OBJECTIVE, plan=plan)).rule
    noise = CanvasNoise(seeds=(4, 9))
    expected = restore(rule.restorer, lq_image_of(rule.restorer, sample), plan, noise).clean
    assert torch.equal(rule.restored(sample, noise), expected)
    assert not torch.equal(expected, training_step_of().rule.restored(sample, noise))


def test_the_unet_learns_as_one_with_the_detailed_end(sample):
    training_step = training_step_of(replace(OBJECTIVE, whole=True))
    outcome = training_step(sample, seeded())
    outcome.loss.backward()
    moved = {
        part
        for part, module in training_step.trainable_modules.items()
        for parameter in module.parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }
    assert moved == {"unet", DECODER}
    assert all(parameter.grad is None for parameter in training_step.rule.decoder.faithful.parameters())


def test_pairs_are_cropped_at_one_place(sample):
    cropped = training_step_of(replace(OBJECTIVE, whole=True)).rule._cropped_pairs(sample, seeded(1))
    assert cropped.lq.shape == (2, 3, 8, 8)
    assert cropped.hq.shape == cropped.teacher.shape == (2, 3, 32, 32)
    for index in range(2):
        places = [
            (top, left)
            for top in range(0, 9, 2)
            for left in range(0, 9, 2)
            if torch.equal(sample.lq[index, :, top : top + 8, left : left + 8], cropped.lq[index])
        ]
        (top, left) = places[0]
        region = (..., slice(4 * top, 4 * top + 32), slice(4 * left, 4 * left + 32))
        assert torch.equal(sample.hq[index][region], cropped.hq[index])
        assert torch.equal(sample.teacher[index][region], cropped.teacher[index])


def test_latents_are_restored_once_per_pair_whatever_the_batch(sample, monkeypatch):
    training_step = training_step_of()
    asked, latents = [], training_step.rule.latents
    made = latents.restore
    monkeypatch.setattr(latents, "restore", lambda new, noise: asked.append(new.numbers) or made(new, noise))
    first = training_step(sample, seeded())
    again = training_step(sample, seeded())
    assert asked == [(4,), (9,)]
    assert float(first.loss.detach()) == float(again.loss.detach())
    fresh = training_step_of()(replace(sample, numbers=None), seeded())
    assert float(fresh.loss.detach()) == pytest.approx(float(first.loss.detach()), rel=1e-3)  # kept in half precision
    other = training_step_of().rule
    alone = other._restored_latents(Sample(hq=sample.hq[1:], lq=sample.lq[1:], numbers=(9,)))
    assert torch.equal(alone, training_step.rule._restored_latents(sample)[1:])


def test_all_that_learns_is_in_checkpoints(sample):
    """A resumed run would go on with the UNet that it began with."""
    training_step = training_step_of(replace(OBJECTIVE, whole=True))
    unet = {f"unet.{name}" for name in training_step.trainable_modules["unet"].state_dict()}
    assert unet <= set(training_step.state_dict())
    assert not any(name.startswith("unet") for name in training_step_of().state_dict())


def test_crops_of_all_lie_together(sample):
    training_step = training_step_of()
    latents, enlarged, cropped = training_step.rule._cropped(sample, seeded(1))
    assert enlarged.shape == cropped.hq.shape == (2, 3, 32, 32)
    assert latents.shape[-2:] == (4, 4)
    assert (enlarged - cropped.hq).abs().mean() < 0.1, "the photo's crop is that of the HQ photo"
    whole = interpolate(sample.lq, (64, 64), mode="bicubic", antialias=True)
    places = [
        [
            (top, left)
            for top in range(0, 33, 8)
            for left in range(0, 33, 8)
            if torch.equal(sample.hq[index, :, top : top + 32, left : left + 32], cropped.hq[index])
        ]
        for index in range(2)
    ]
    assert all(len(found) == 1 for found in places)
    for index, [(top, left)] in enumerate(places):
        assert (whole[index, :, top : top + 32, left : left + 32] - enlarged[index]).abs().max() < 0.02


def test_terms_are_held_to_the_teacher_or_the_photo(sample):
    terms = (
        Term(name="taught", weight=1.0, function=partial(against_teacher, image_l1)),
        Term(name="image", weight=0.0, function=image_l1),
    )
    same = training_step_of(replace(OBJECTIVE, terms=terms))(replace(sample, teacher=sample.hq), seeded())
    told = numbers(same.scalars)
    assert told["taught"] == pytest.approx(told["image"])
    other = training_step_of(replace(OBJECTIVE, terms=terms))(sample, seeded())
    told = numbers(other.scalars)
    assert told["taught"] != pytest.approx(told["image"], rel=1e-3)
    assert float(other.loss.detach()) == pytest.approx(told["taught"])


def test_the_discriminator_is_heard_from_its_time_on(sample):
    objective = replace(OBJECTIVE, crop_px=64, adversarial_image=0.5, adversarial_from=0.5)
    training_step = training_step_of(objective, discriminator=True)
    early = training_step(sample, seeded(), 0.4)
    late = training_step(sample, seeded(), 0.6)
    assert "adversarial" not in early.scalars
    heard = 0.5 * numbers(late.scalars)["adversarial"]
    assert float(late.loss.detach() - early.loss.detach()) == pytest.approx(heard, rel=1e-2)
    assert late.record is not None
    assert training_step.discriminator is not None
    training_step.discriminator(late.record.detached(), seeded()).loss.backward()
    assert all(p.grad is not None for p in training_step.discriminator.network.heads.parameters() if p.requires_grad)


def test_pixels_of_the_decoder_learn_in_a_few_steps(sample):
    training_step = training_step_of(
        replace(OBJECTIVE, terms=(Term(name="image", weight=1.0, function=image_l1),), crop_px=64)
    )
    optimizer = torch.optim.Adam([p for p in training_step.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(40):
        loss = training_step(sample, seeded()).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0], (losses[0], losses[-1])


def test_two_networks_look_in_turn_as_the_step_draws(sample):
    objective = replace(OBJECTIVE, crop_px=64, features=1.0, terms=())
    named = {name: training_step_of(replace(objective, network=name)) for name in ("lite0", "lite1", "in turn")}
    drawn = set()
    for seed in range(6):
        lite0, lite1, either = (step(sample, torch.Generator().manual_seed(seed)) for step in named.values())
        turn = named["in turn"].rule.take(sample, torch.Generator().manual_seed(seed)).turn
        torch.testing.assert_close(either.loss, lite0.loss if turn else lite1.loss)
        assert float(lite0.loss.detach()) != pytest.approx(float(lite1.loss.detach()), rel=1e-3)
        drawn.add(turn)
    assert drawn == {0, 1}
