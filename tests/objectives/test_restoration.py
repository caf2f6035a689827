from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import interpolate

from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import ModelError
from sdsr.losses.latent_perceptual import LatentPerceptual, LatentVgg16
from sdsr.losses.terms import StepRecord, Term, image_l1, latent_l2
from sdsr.methods.one_step.recipes import PLAN, UNDECODED, small_discriminators
from sdsr.objectives.discriminator import Discriminators
from sdsr.objectives.latent_distance import latent_distance
from sdsr.objectives.restoration import InferenceStep, Restoration
from sdsr.objectives.restorer_step import encode_pair
from sdsr.objectives.training_step import Sample, numbers
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.restorer import from_noise
from tests.tensors import seeded

NOISE = CanvasNoise(seeds=(1, 2))
TERMS = (
    Term(name="latent", weight=0.5, function=latent_l2),
    Term(name="image", weight=2.0, function=image_l1),
)


@pytest.fixture
def sample(photo) -> Sample:
    hq = torch.cat([photo[..., :64, :64], photo[..., :64, 64:]])
    return Sample(hq=hq, lq=interpolate(hq, scale_factor=0.25, mode="bicubic", antialias=True).clamp(0, 1))


def stepped(rule: InferenceStep, sample: Sample) -> torch.Tensor:
    encoded, _ = encode_pair(rule.restorer, sample, None, NOISE)
    return rule.step(encoded, NOISE, torch.full((2,), PLAN.times[0]))


def test_the_step_is_that_of_inference(sample):
    restorer = UNDECODED.build("tiny")
    rule = Restoration(plan=PLAN).training_step(restorer, None).rule
    clean = stepped(rule, sample)
    assert clean.requires_grad
    assert sample.lq is not None
    enlarged = interpolate(sample.lq, (64, 64), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.no_grad():
        prior = restorer.prior
        latent = prior.encode(enlarged)
        condition = restorer.parts.conditioner(prior, LqImage.of(sample.lq, (64, 64), 8), latent)("")
        expected = prior.denoise(latent, PLAN.times[0], condition)
    torch.testing.assert_close(clean, expected, atol=1e-3, rtol=1e-3)


def test_the_loss_is_the_weighted_sum_of_the_terms(sample):
    training_step = Restoration(plan=PLAN, terms=TERMS).training_step(UNDECODED.build("tiny"), None)
    outcome = training_step(sample, seeded())
    assert set(outcome.scalars) == {"latent", "image"}
    values = numbers(outcome.scalars)
    expected = 0.5 * values["latent"] + 2 * values["image"]
    assert float(outcome.loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert outcome.record is None


def test_discriminators_are_heard_only_from_their_time_on(sample):
    restorer = UNDECODED.build("tiny")
    discriminators = small_discriminators(restorer)
    training_step = Restoration(plan=PLAN, terms=TERMS, adversarial_from=0.5).training_step(restorer, discriminators)
    early, late = training_step(sample, seeded(), 0.49), training_step(sample, seeded(), 0.5)
    assert set(late.scalars) - set(early.scalars) == {"adversarial_latent", "adversarial_image"}
    values = numbers(late.scalars)
    heard = 0.03 * (values["adversarial_latent"] + values["adversarial_image"])
    assert float(late.loss.detach() - early.loss.detach()) == pytest.approx(heard, rel=1e-3)
    for outcome in (early, late):
        assert outcome.record is not None
        conditioned_on = outcome.record.detached()
        assert not conditioned_on.clean.requires_grad
        assert not conditioned_on.images()[0].requires_grad
        assert outcome.record.images()[0].requires_grad
    assert training_step.discriminator is discriminators
    own = {id(parameter) for parameter in training_step.parameters()}
    assert not any(id(parameter) in own for parameter in discriminators.parameters())


def test_a_picture_is_decoded_once_and_before_the_weights_change(sample, monkeypatch):
    """For the discriminators' own step, too, while they aren't heard; and not at all where none looks at it."""
    restorer = UNDECODED.build("tiny")
    decoded, decode = [], type(restorer.prior).decode
    monkeypatch.setattr(type(restorer.prior), "decode", lambda self, z: decoded.append(z) or decode(self, z))
    seeing = small_discriminators(restorer)
    blind = Discriminators(seeing.each[0])
    for discriminators, count in ((seeing, 1), (blind, 0)):
        decoded.clear()
        outcome = Restoration(plan=PLAN, adversarial_from=0.5).training_step(restorer, discriminators)(
            sample, seeded(), 0.1
        )
        assert len(decoded) == count
        discriminators(outcome.record.detached(), seeded())
        assert len(decoded) == count


def test_each_photo_of_a_batch_starts_from_its_own_noise(sample):
    restorer = UNDECODED.build("tiny")
    noisy = replace(restorer, parts=replace(restorer.parts, start=from_noise))
    assert sample.lq is not None
    twice = Sample(hq=sample.hq[:1].repeat(2, 1, 1, 1), lq=sample.lq[:1].repeat(2, 1, 1, 1))
    rule = Restoration(plan=PLAN).training_step(noisy, None).rule
    first, second = stepped(rule, twice)
    assert not torch.allclose(first, second)
    assert torch.equal(stepped(rule, twice), stepped(rule, twice))


def test_photos_without_a_pair_are_our_mistake(sample):
    with pytest.raises(AssertionError, match="this objective needs pairs"):
        Restoration(plan=PLAN).training_step(UNDECODED.build("tiny"), None)(Sample(hq=sample.hq), seeded())


def test_a_start_that_learns_gets_gradients(sample):
    """InvSR's predictor makes what the step begins from, so nothing on the way may be detached."""
    restorer = UNDECODED.build("tiny")
    shift = torch.nn.Parameter(torch.zeros(1))
    learns = replace(restorer, parts=replace(restorer.parts, start=lambda _, encoded, t, noise: encoded.latent + shift))
    Restoration(plan=PLAN).training_step(learns, None)(sample, seeded()).loss.backward()
    assert shift.grad is not None
    assert shift.grad.any()


def test_each_photo_starts_at_a_time_of_its_own(sample):
    restorer, encoded = UNDECODED.build("tiny"), []

    def noted(schedule, seen_, t, noise):
        encoded.append(t)
        return seen_.latent

    training_step = Restoration(plan=PLAN, starts=(10, 20, 30)).training_step(
        replace(restorer, parts=replace(restorer.parts, start=noted)), None
    )
    for seed in range(6):
        training_step(sample, seeded(seed))
    assert {int(t) for times in encoded for t in times} == {10, 20, 30}
    with torch.no_grad():
        training_step.measure(sample, seeded())
    assert encoded[-1].tolist() == [PLAN.times[0], PLAN.times[0]]


def test_latent_lpips_is_zero_for_equal_latents_and_teaches(sample):
    restorer = UNDECODED.build("tiny")
    (_, term) = Restoration(plan=PLAN, latent_lpips=2.0).all_terms(restorer.prior)
    latent = restorer.prior.encode(sample.hq)
    moved = (latent + 0.1).requires_grad_()
    record = StepRecord(clean=moved, hq=latent)
    assert (term.name, term.weight) == ("latent_lpips", 2.0)
    assert float(term.function(replace(record, clean=latent))) == 0
    term.function(record).backward()
    assert moved.grad is not None
    assert moved.grad.any()


def test_latent_lpips_of_other_latents_is_refused(tmp_path):
    prior, path = UNDECODED.build("tiny").prior, tmp_path / "perceptual.safetensors"
    save_file(LatentPerceptual(5).state_dict(), path)
    with pytest.raises(ModelError, match="see latents of 5 channels, those of tiny have 4"):
        latent_distance(prior, str(path))
    save_file(LatentPerceptual(4).state_dict(), path)
    same = torch.randn(2, 4, 8, 8, generator=seeded())
    assert latent_distance(prior, str(path))(same, same).tolist() == [0, 0]
    save_file(LatentVgg16().state_dict(), path)
    assert latent_distance(prior, str(path))(same, same + 1).min() > 0
