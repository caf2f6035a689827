"""Severity: the small perceptual network learns to see defects from photos and degradations alone."""

from dataclasses import dataclass

import torch
from torch import nn

from sdsr.losses.severity import SeverityHeads, small_perceptual_loss
from sdsr.losses.small_perceptual import SmallPerceptual
from sdsr.objectives.training_step import Outcome, Sample, numbers
from sdsr.tensors import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Severity:
    """How many versions of one defect are ranked against each other for each photo."""

    versions: int = 3

    def training_step(self, model: SmallPerceptual, discriminator: nn.Module | None) -> "SeverityStep":
        return SeverityStep(model, self)


class SeverityStep(nn.Module):
    """Trains a `SmallPerceptual`, and heads that are saved beside it but needed only to go on training."""

    discriminator: None = None

    def __init__(self, network: SmallPerceptual, objective: Severity) -> None:
        super().__init__()
        self.network = network
        self.heads = SeverityHeads()
        self.objective = objective

    @property
    def trainable_modules(self) -> dict[str, nn.Module]:
        return {"perceptual": self.network, "heads": self.heads}

    def forward(self, sample: Sample, rng: torch.Generator, progress: float = 0.0) -> Outcome:
        loss, values = small_perceptual_loss(self.network, self.heads, sample.hq, rng, versions=self.objective.versions)
        return Outcome(loss=loss, scalars=values)

    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Image]:
        return {"photo": sample.hq[:6]}

    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        return numbers(self.forward(sample, rng).scalars)
