from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import interpolate
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from sdsr.errors import InputError
from sdsr.methods.consissr.rclip import Embedding, EmbeddingStep, EncoderPair, module_of
from sdsr.objectives.training_step import Sample, numbers
from sdsr.prior.prior import Prior
from sdsr.prior.stable_diffusion import ClipImage
from sdsr.prior.tiny import tiny_prior


@pytest.fixture
def sample(photo) -> Sample:
    hq = torch.cat([photo[..., :64, :64], photo[..., :64, 64:]])
    small = interpolate(hq, scale_factor=0.25, mode="area")
    noise = torch.randn(small.shape, generator=torch.Generator().manual_seed(1))
    return Sample(hq=hq, lq=(small + 0.1 * noise).clamp(0, 1))


def with_clip() -> Prior:
    """The tiny prior with a CLIP image tower of random weights, stored and computing in half precision."""
    prior = tiny_prior(dtype=torch.bfloat16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = CLIPVisionConfig(**shape, projection_dim=12, image_size=16, patch_size=8)
        model = CLIPVisionModelWithProjection(config).eval().requires_grad_(False).to(torch.bfloat16)
    prior.modules["image_encoder"] = model
    return replace(prior, image=ClipImage(model))


PRIORS = pytest.mark.parametrize("make", [tiny_prior, with_clip], ids=["small", "clip"])


def training_step_of(prior: Prior) -> EmbeddingStep:
    return Embedding().training_step(EncoderPair.of(prior), None)


def train(training_step: EmbeddingStep, sample: Sample, steps: int) -> None:
    optimizer = torch.optim.Adam(training_step.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        training_step(sample, torch.Generator(), 0.0).loss.backward()
        optimizer.step()


@PRIORS
def test_every_weight_of_the_student_learns_and_none_of_the_teacher(make, sample):
    prior = make()
    training_step = training_step_of(prior)
    training_step(sample, torch.Generator()).loss.backward()
    student = training_step.trainable_modules["image_encoder"]
    untaught = [name for name, p in student.named_parameters() if p.grad is None or not p.grad.any()]
    assert all("k_proj.bias" in name for name in untaught)  # softmax doesn't see it
    assert all(parameter.dtype == torch.float32 for parameter in student.parameters())
    assert not any(p.requires_grad or p.grad is not None for p in prior.modules.parameters())
    assert {id(p) for p in training_step.parameters()} == {id(p) for p in student.parameters()}


def test_the_loss_is_the_mean_squared_error_of_embeddings_of_lq_and_hq(sample):
    prior = tiny_prior()
    assert prior.image is not None
    assert sample.lq is not None
    large = interpolate(sample.lq, (64, 64), mode="bicubic", antialias=True).clamp(0, 1)
    expected = (prior.image(large) - prior.image(sample.hq)).square().sum() / (2 * 128)
    outcome = training_step_of(prior)(sample, torch.Generator())
    torch.testing.assert_close(outcome.loss.detach(), expected, rtol=1e-4, atol=0)
    assert numbers(outcome.scalars) == {"embedding": float(outcome.loss.detach())}


@PRIORS
def test_the_student_comes_nearer_to_the_photo_than_its_teacher_is(make, sample):
    training_step = training_step_of(make())
    with torch.no_grad():
        before = training_step.measure(sample, torch.Generator())
    assert set(before) == {"cosine", "mse", "teacher_cosine", "teacher_mse"}
    assert before["mse"] == pytest.approx(before["teacher_mse"], rel=0.05)
    train(training_step, sample, 20)
    with torch.no_grad():
        after = training_step.measure(sample, torch.Generator())
    assert after["mse"] < 0.7 * after["teacher_mse"]
    assert after["cosine"] > after["teacher_cosine"]
    assert (after["teacher_mse"], after["teacher_cosine"]) == (before["teacher_mse"], before["teacher_cosine"])


@PRIORS
def test_resumed_a_student_still_has_the_pristine_teacher(make, sample):
    """The published code copies its teacher from the student as it was loaded, so resuming would teach it itself."""
    training_step = training_step_of(make())
    train(training_step, sample, 3)
    assert not any("teacher" in name for name in training_step.state_dict())
    resumed = training_step_of(make())
    resumed.load_state_dict(deepcopy(training_step.state_dict()))
    pristine = module_of(make().image).state_dict()
    for name, value in module_of(resumed.pair.teacher).state_dict().items():
        assert torch.equal(value, pristine[name]), name
    assert resumed(sample, torch.Generator()).loss == training_step(sample, torch.Generator()).loss
    assert not torch.equal(next(resumed.student.parameters()), next(iter(pristine.values())))


def test_pictures_are_what_each_sees(sample):
    pictures = training_step_of(tiny_prior()).pictures(sample, torch.Generator())
    assert pictures["teacher sees"] is not None
    assert {picture.shape for picture in pictures.values()} == {(2, 3, 64, 64)}
    assert torch.equal(pictures["teacher sees"], sample.hq)
    assert pictures["student sees"].max() <= 1


def test_a_prior_without_an_image_encoder_is_an_error():
    prior = replace(tiny_prior(), image=None)
    with pytest.raises(InputError, match="no image encoder"):
        EncoderPair.of(prior)
