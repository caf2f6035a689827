"""Latent ranking: a network learns to see in latents what another sees in photos.

How InvSR's latent LPIPS (arXiv:2412.09013) was tuned was not published beyond its author's word that it was done as in
LPIPS (arXiv:1801.03924), behind the encoder. Deviation: there people said which of two degraded photos is nearer to the
original; here a network of photos says so, about defects that are made in passing, so that no collection of
judgements is needed.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdsr.losses.perceptual import PerceptualDistance, feature_distance
from sdsr.losses.severity import severity_batch
from sdsr.objectives.training_step import Outcome, Sample, numbers
from sdsr.prior.prior import Prior
from sdsr.tensors import Float, Image, Latent

SHARPNESS = 4.0


class LatentNetwork(Protocol):
    """A module that turns latents into feature maps, with positive channel weights for each."""

    @property
    def weights(self) -> list[Tensor]: ...

    def __call__(self, latent: Latent) -> list[Tensor]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentTeaching:
    """The prior whose latents are seen, the network that learns to, and the distance of photos that teaches it."""

    prior: Prior
    network: nn.Module
    teacher: PerceptualDistance


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentRanking:
    """Each photo is degraded by two defects, in `versions` severities of each, and shifted by up to a pixel."""

    versions: int = 2

    def training_step(self, model: LatentTeaching, discriminator: nn.Module | None) -> "LatentRankingStep":
        return LatentRankingStep(model, self)


class LatentRankingStep(nn.Module):
    """Trains the network on which of two degraded photos is nearer to the original, for all pairs of each photo's."""

    discriminator: None = None

    def __init__(self, model: LatentTeaching, objective: LatentRanking) -> None:
        super().__init__()
        self.prior = model.prior
        self.network = model.network
        self.objective = objective
        self._teacher = [model.teacher]  # in a list: it is no part of what is trained

    @property
    def trainable_modules(self) -> dict[str, nn.Module]:
        return {"perceptual": self.network}

    def forward(self, sample: Sample, rng: torch.Generator, progress: float = 0.0) -> Outcome:
        degraded = self._degraded(sample.hq, rng)
        with torch.no_grad():
            taught = self._taught(sample.hq, degraded).clamp(min=1e-8).log()
            original = self.prior.encode(sample.hq)
            latents = self.prior.encode(degraded.flatten(0, 1))
        seen = self._seen(original, latents).unflatten(0, taught.shape).clamp(min=1e-8).log()
        first, second = torch.triu_indices(taught.shape[1], taught.shape[1], offset=1, device=taught.device)
        wanted, logits = (SHARPNESS * (log[:, first] - log[:, second]) for log in (taught, seen))
        loss = F.binary_cross_entropy_with_logits(logits, wanted.sigmoid())
        agreed = ((logits > 0) == (wanted > 0)).float().mean()
        return Outcome(loss=loss, scalars={"ranking": loss.detach(), "agreed": agreed})

    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Image]:
        return {"photo": sample.hq[:6]}

    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        return numbers(self.forward(sample, rng).scalars)

    def _degraded(self, hq: Image, rng: torch.Generator) -> Float[Tensor, "b versions 3 height width"]:
        lessons = [severity_batch(hq, rng, versions=self.objective.versions) for _ in range(2)]
        return torch.cat((lessons[0].shifted[:, None], *(lesson.versions for lesson in lessons)), dim=1)

    def _taught(self, hq: Image, degraded: Tensor) -> Float[Tensor, "b versions"]:
        originals = hq.repeat_interleave(degraded.shape[1], dim=0)
        return self._teacher[0](degraded.flatten(0, 1), originals).unflatten(0, degraded.shape[:2])

    def _seen(self, original: Float[Tensor, "photos c h w"], latents: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        network: LatentNetwork = self.network  # pyright: ignore[reportAssignmentType]  (a module has everything)
        references = [map_.repeat_interleave(len(latents) // len(original), dim=0) for map_ in network(original)]
        return feature_distance(network(latents), references, network.weights)
