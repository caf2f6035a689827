"""Reconstruction: an autoencoder gives back the photo it was given."""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from sdsr.losses.terms import StepRecord, Term, gradient_l1, image_l1, image_l2, unevenness
from sdsr.objectives.pairs import mean_psnr
from sdsr.objectives.restorer_step import AdversarialWeights, compare
from sdsr.objectives.training_step import Outcome, Sample
from sdsr.prior.small_autoencoder import FACTOR, SmallAutoencoder
from sdsr.tensors import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """Weights of the terms, and the noise that the decoder must bear (in standard deviations of the latent).

    With `train_encoder` false the latents stay what they are, so that only the decoder is refined.
    """

    l1: float = 1.0
    l2: float = 5.0
    gradient: float = 2.0
    unevenness: float = 0.0
    latent_noise: float = 0.03
    train_encoder: bool = True

    def training_step(self, model: SmallAutoencoder, discriminator: nn.Module | None) -> "ReconstructionStep":
        return ReconstructionStep(model, self)


class ReconstructionStep(nn.Module):
    """Trains a `SmallAutoencoder`; `finish` fixes the statistics by which latents have zero mean and unit variance."""

    discriminator: None = None

    def __init__(self, autoencoder: SmallAutoencoder, objective: Reconstruction) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.objective = objective
        autoencoder.requires_grad_(True)
        autoencoder.encoder.requires_grad_(objective.train_encoder)
        self.terms = (
            Term(name="l1", weight=objective.l1, function=image_l1),
            Term(name="l2", weight=objective.l2, function=image_l2),
            Term(name="gradient", weight=objective.gradient, function=gradient_l1),
            Term(name="unevenness", weight=objective.unevenness, function=partial(unevenness, FACTOR)),
        )

    @property
    def trainable_modules(self) -> dict[str, nn.Module]:
        return {"autoencoder": self.autoencoder}

    def forward(self, sample: Sample, rng: torch.Generator, progress: float = 0.0) -> Outcome:
        latent = self.autoencoder.encode(sample.hq)
        noise = torch.randn(latent.shape, generator=rng).to(latent)
        image = self.autoencoder.decode(latent + self.objective.latent_noise * noise).float()
        record = StepRecord(clean=latent, hq=latent, image=lambda: image, hq_image=sample.hq)
        return compare(record, self.terms, None, AdversarialWeights(), rng, progress)

    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Image]:
        return {"photo": sample.hq, "reconstruction": self._reconstruct(sample.hq)}

    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        return {"psnr": mean_psnr(self._reconstruct(sample.hq), sample.hq)}

    def prepare(self, samples: list[Sample]) -> None:
        """Begin as the best linear block transform of some photos, unless only the decoder is refined."""
        if not self.objective.train_encoder:
            return
        blocks = [F.pixel_unshuffle(2 * sample.hq - 1, FACTOR).flatten(2).transpose(1, 2) for sample in samples]
        self.autoencoder.begin_as_block_transform(torch.cat(blocks).flatten(0, 1))

    @torch.no_grad()
    def finish(self, samples: list[Sample]) -> None:
        if not self.objective.train_encoder:
            return
        mean = self.autoencoder.latent_mean
        scale = self.autoencoder.latent_scale
        mean.zero_()
        scale.fill_(1)
        latents = torch.cat([self.autoencoder.encode(sample.hq).float() for sample in samples]).double()
        mean.copy_(latents.mean((0, 2, 3), keepdim=True))
        scale.copy_((latents - mean).square().mean().sqrt().expand_as(scale))

    @torch.no_grad()
    def _reconstruct(self, image: Image) -> Image:
        return self.autoencoder.decode(self.autoencoder.encode(image)).float().clamp(0, 1)
