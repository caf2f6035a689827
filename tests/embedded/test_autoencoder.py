import pytest
import torch
import torch.nn.functional as F

from sdsr.embedded.autoencoder import Reconstruction, ReconstructionStep
from sdsr.objectives.training_step import Sample, numbers
from sdsr.prior.small_autoencoder import SmallAutoencoder


def smooth_images(seed: int, count: int = 4, side: int = 64) -> torch.Tensor:
    """Enlarged noise: what a linear block transform of few channels can keep."""
    rng = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, side // 8, side // 8, generator=rng)
    return F.interpolate(small, (side, side), mode="bicubic", antialias=True).clamp(0, 1)


@pytest.fixture
def training_step() -> ReconstructionStep:
    torch.manual_seed(0)
    return Reconstruction().training_step(SmallAutoencoder(12, widths=(8, 8, 8), depths=(1, 1, 1)), None)


def test_prepared_it_keeps_smooth_images_before_any_step(training_step, rng):
    unseen = Sample(hq=smooth_images(9))
    before = training_step.measure(unseen, rng)["psnr"]
    training_step.prepare([Sample(hq=smooth_images(seed)) for seed in range(8)])
    after = training_step.measure(unseen, rng)["psnr"]
    assert before < 20
    assert after > 25


def test_finish_gives_latents_zero_mean_and_unit_variance_and_changes_no_picture(training_step, rng):
    samples = [Sample(hq=smooth_images(seed)) for seed in range(4)]
    training_step.prepare(samples)
    pictures = training_step.pictures(samples[0], rng)["reconstruction"]
    training_step.finish(samples)
    latents = torch.cat([training_step.autoencoder.encode(sample.hq) for sample in samples]).detach()
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(12), atol=1e-4, rtol=0)
    assert float(latents.square().mean()) == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(training_step.pictures(samples[0], rng)["reconstruction"], pictures, atol=1e-4, rtol=0)


def test_finish_again_gives_the_same_statistics(training_step):
    samples = [Sample(hq=smooth_images(seed)) for seed in range(2)]
    training_step.prepare(samples)
    training_step.finish(samples)
    before = {name: buffer.clone() for name, buffer in training_step.autoencoder.named_buffers()}
    training_step.finish(samples)
    for name, buffer in training_step.autoencoder.named_buffers():
        torch.testing.assert_close(buffer, before[name])
    assert before["latent_scale"].min() > 0


def test_the_loss_weighs_its_terms(rng):
    objective = Reconstruction(l1=1.0, l2=5.0, gradient=3.0, unevenness=0.5)
    training_step = objective.training_step(SmallAutoencoder(4, widths=(8, 8, 8), depths=(1, 1, 1)), None)
    outcome = training_step(Sample(hq=smooth_images(1)), rng)
    expected = sum(getattr(objective, name) * value for name, value in numbers(outcome.scalars).items())
    assert float(outcome.loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_a_frozen_encoder_leaves_latents_as_they_are(rng):
    autoencoder = SmallAutoencoder(4, widths=(8, 8, 8), depths=(1, 1, 1))
    training_step = Reconstruction(train_encoder=False).training_step(autoencoder, None)
    training_step(Sample(hq=smooth_images(1)), rng).loss.backward()
    assert all(parameter.grad is None for parameter in autoencoder.encoder.parameters())
    assert all(parameter.grad is not None for parameter in autoencoder.decoder.parameters())


def test_refining_the_decoder_leaves_the_latents_alone(training_step, rng):
    """Neither preparing nor finishing nor a gradient may touch the encoder that a prior was trained on."""
    samples = [Sample(hq=smooth_images(seed)) for seed in range(2)]
    training_step.prepare(samples)
    training_step.finish(samples)
    refined = Reconstruction(train_encoder=False).training_step(training_step.autoencoder, None)
    before = {name: tensor.clone() for name, tensor in training_step.autoencoder.state_dict().items()}
    refined.prepare([Sample(hq=smooth_images(7))])
    refined(samples[0], rng).loss.backward()
    refined.finish([Sample(hq=smooth_images(8))])
    assert all(torch.equal(before[name], tensor) for name, tensor in training_step.autoencoder.state_dict().items())
    assert all(parameter.grad is None for parameter in refined.autoencoder.encoder.parameters())
    assert any(parameter.grad is not None for parameter in refined.autoencoder.decoder.parameters())
