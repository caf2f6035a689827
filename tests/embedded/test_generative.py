"""Generative reconstruction: it learns, bears noise, and fixes the latents' statistics at the end."""

from dataclasses import replace

import torch

from sdsr.embedded.generative import GenerativeReconstruction
from sdsr.methods.small_stages import image_discriminator
from sdsr.objectives.training_step import Sample
from sdsr.prior.folded_autoencoder import FoldedAutoencoder

PIXELS_ALONE = GenerativeReconstruction(similar=0.0, features=0.0, adversarial_image=0.0)


def autoencoder() -> FoldedAutoencoder:
    torch.manual_seed(0)
    return FoldedAutoencoder(4, widths=(8, 8, 8), blocks=1, decoder_widths=(8, 8), decoder_blocks=(1, 1), ends=(8, 8))


def test_it_learns_to_give_back_photos(photo):
    step = PIXELS_ALONE.training_step(autoencoder(), None)
    sample = Sample(hq=photo[..., :64, :64])
    optimizer = torch.optim.Adam(step.parameters(), 3e-3)
    losses = []
    for index in range(40):
        outcome = step(sample, torch.Generator().manual_seed(index))
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
        losses.append(float(outcome.loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_statistics_are_fixed_at_the_end(photo):
    step = PIXELS_ALONE.training_step(autoencoder(), None)
    sample = Sample(hq=photo[..., :64, :64])
    step.finish([sample])
    latent = step.autoencoder.encode(sample.hq)
    torch.testing.assert_close(latent.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(latent.std((0, 2, 3), correction=0), torch.ones(4), atol=1e-3, rtol=0)


def test_features_and_a_discriminator_are_heard(photo):
    objective = replace(GenerativeReconstruction(), adversarial_from=0.5)
    discriminator = image_discriminator(None)
    step = objective.training_step(autoencoder(), discriminator)
    sample = Sample(hq=photo[..., :64, :64])
    early, late = (step(sample, torch.Generator().manual_seed(0), progress) for progress in (0.0, 1.0))
    assert {"similar", "features"} <= early.scalars.keys()
    assert "adversarial" not in early.scalars
    assert "adversarial" in late.scalars
    assert late.record is not None
    verdict = discriminator(late.record.detached(), torch.Generator().manual_seed(0))
    assert torch.isfinite(verdict.loss)
