"""Reconstruction by a decoder that paints: what features and a discriminator see counts, and latents come with noise.

A decoder that has met only the latents of photographs shows every error of a guessed one. Noise of random strength on
the latents (as representation autoencoders are trained with) makes it at home beside them, and, since it is measured in
the latents' own deviation, bounds what a latent can hold.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn

from sdsr.losses.dists import dists
from sdsr.losses.efficientnet import load_efficientnet_lite
from sdsr.losses.perceptual import distance_by, feature_distance
from sdsr.losses.terms import StepRecord, Term, gradient_l1, image_l1, in_window, perceptual, unevenness
from sdsr.objectives.discriminator import Discriminator
from sdsr.objectives.pairs import mean_psnr, offset_window
from sdsr.objectives.restorer_step import AdversarialWeights, compare
from sdsr.objectives.training_step import Outcome, Sample
from sdsr.prior.folded_autoencoder import FACTOR, FoldedAutoencoder
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.tensors import Image, Latent

_FLOOR = 1e-4  # of a channel's deviation


_TERMS = (
    Term(name="image", weight=1.0, function=image_l1),
    Term(name="gradient", weight=0.5, function=gradient_l1),
    Term(name="unevenness", weight=0.5, function=unevenness(FACTOR)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerativeReconstruction:
    """Terms on pixels, and what is weighed besides.

    `similar` and `features` weigh distances of ImageNet features (EfficientNet-Lite0; LPIPS's and DISTS's form) to the
    photo, `adversarial_image` what the discriminator says, from `adversarial_from` (a share of the run) on.
    `latent_noise`: the most noise that a latent is decoded with, in its standard deviations; each photo draws its own.
    """

    terms: tuple[Term, ...] = _TERMS
    similar: float = 0.05
    features: float = 0.5
    adversarial_image: float = 0.05
    adversarial_from: float = 0.1
    latent_noise: float = 0.4

    def training_step(
        self, autoencoder: SmallAutoencoder | FoldedAutoencoder, discriminator: nn.Module | None
    ) -> "GenerativeStep":
        assert isinstance(autoencoder, FoldedAutoencoder), "only its decoder paints"
        assert discriminator is None or isinstance(discriminator, Discriminator), "a discriminator watches this"
        return GenerativeStep(autoencoder, self, discriminator)


class GenerativeStep(nn.Module):
    """Trains a `FoldedAutoencoder`; `finish` fixes the statistics by which its latents are normalised."""

    def __init__(
        self, autoencoder: FoldedAutoencoder, objective: GenerativeReconstruction, discriminator: Discriminator | None
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder.requires_grad_(True)
        self.objective = objective
        self.network = load_efficientnet_lite("lite0") if objective.similar or objective.features else None
        self.terms = self._terms()
        self._beside = (discriminator,)  # in a tuple: it is no submodule of what the main optimizer trains

    @property
    def discriminator(self) -> Discriminator | None:
        return self._beside[0]

    @property
    def trainable_modules(self) -> dict[str, nn.Module]:
        return {"autoencoder": self.autoencoder}

    def _terms(self) -> tuple[Term, ...]:
        if self.network is None:
            return self.objective.terms
        similar = in_window(perceptual(partial(distance_by, self.network, feature_distance)))
        features = in_window(perceptual(partial(distance_by, self.network, dists)))
        return (
            *self.objective.terms,
            Term(name="similar", weight=self.objective.similar, function=similar),
            Term(name="features", weight=self.objective.features, function=features),
        )

    def forward(self, sample: Sample, rng: Generator, progress: float = 0.0) -> Outcome:
        latent = _normalised(self.autoencoder.encoder(2 * sample.hq - 1))
        strength = self.objective.latent_noise * torch.rand((len(latent), 1, 1, 1), generator=rng)
        noise = strength * torch.randn(latent.shape, generator=rng)
        image = self.autoencoder.decode(latent + noise.to(latent))
        record = StepRecord(
            clean=latent,
            hq=latent.detach(),
            image=lambda: image,
            hq_image=sample.hq,
            window=offset_window(image, rng),
        )
        weighed = AdversarialWeights(
            weights={"image": self.objective.adversarial_image}, since=self.objective.adversarial_from
        )
        return compare(record, self.terms, self.discriminator, weighed, rng, progress)

    def pictures(self, sample: Sample, rng: Generator) -> dict[str, Image]:
        latent = _normalised(self.autoencoder.encoder(2 * sample.hq - 1))
        noise = torch.randn(latent.shape, generator=rng).to(latent)
        noisy = self.autoencoder.decode(latent + self.objective.latent_noise * noise)
        return {
            "photo": sample.hq,
            "reconstruction": self.autoencoder.decode(latent).clamp(0, 1),
            f"with noise of {self.objective.latent_noise:g}": noisy.clamp(0, 1),
        }

    def measure(self, sample: Sample, rng: Generator) -> dict[str, float]:
        latent = _normalised(self.autoencoder.encoder(2 * sample.hq - 1))
        return {"psnr": mean_psnr(self.autoencoder.decode(latent).clamp(0, 1), sample.hq)}

    def prepare(self, samples: list[Sample]) -> None:
        """Nothing is measured before training."""

    @torch.no_grad()
    def finish(self, samples: list[Sample]) -> None:
        latents = torch.cat([self.autoencoder.encoder(2 * sample.hq - 1) for sample in samples]).double()
        mean, deviation = _statistics(latents)
        self.autoencoder.latent_mean.copy_(mean)
        self.autoencoder.latent_scale.copy_(deviation)


def _statistics(latent: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and deviation over a batch."""
    mean = latent.mean((0, 2, 3), keepdim=True)
    return mean, (latent - mean).square().mean((0, 2, 3), keepdim=True).sqrt().clamp_min(_FLOOR)


def _normalised(latent: Latent) -> Latent:
    """Return latents of zero mean and unit deviation over their batch, as noise is measured against."""
    mean, deviation = _statistics(latent)
    return (latent - mean) / deviation
