"""Embedding: an image encoder learns to see in a degraded photo what its teacher, frozen, sees in the clean one.

RCLIP, the first stage of ConsisSR (arXiv:2410.13807): E || CLIP(HQ) - RCLIP(LQ) ||^2.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdsr.errors import InputError
from sdsr.images.resize import resample
from sdsr.objectives.training_step import Outcome, Sample
from sdsr.prior.prior import ImageEncoder, Prior
from sdsr.prior.stable_diffusion import ClipImage
from sdsr.tensors import Image

PREVIEWS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderPair:
    """A prior's image encoder, frozen, as the teacher, and the student that began as its copy."""

    prior: Prior
    student: ImageEncoder
    teacher: ImageEncoder

    @classmethod
    def of(cls, prior: Prior) -> "EncoderPair":
        """Return the pair that a prior begins with, the student in float32; raise InputError if it has no encoder.

        The teacher is the prior's own, so it is pristine however often the student is saved and resumed.
        """
        if prior.image is None:
            raise InputError(f"prior (={prior.name}) has no image encoder; use one with a folder image_encoder.")
        student = deepcopy(prior.image)
        module_of(student).float().requires_grad_(True)
        module_of(prior.image).requires_grad_(False)
        return cls(prior=prior, student=student, teacher=prior.image)


def module_of(encoder: ImageEncoder) -> nn.Module:
    """Return the module that holds an image encoder's weights."""
    module = encoder.model if isinstance(encoder, ClipImage) else encoder
    assert isinstance(module, nn.Module), "an image encoder is a module, or CLIP's around one"
    return module


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """The mean squared error of the embeddings.

    Deviation: the paper writes the squared norm; the mean over dimensions is that over their number, 1024 for CLIP, as
    in the published code, whose learning rates fit it.
    """

    def training_step(self, model: EncoderPair, discriminator: nn.Module | None) -> "EmbeddingStep":
        return EmbeddingStep(model)


class EmbeddingStep(nn.Module):
    """Trains the student of a pair; the teacher is no part of the module, so no checkpoint holds or changes it."""

    discriminator: None = None

    def __init__(self, pair: EncoderPair) -> None:
        super().__init__()
        self.pair = pair
        self.student = module_of(pair.student)

    @property
    def trainable_modules(self) -> dict[str, nn.Module]:
        return {"image_encoder": self.student}

    def forward(self, sample: Sample, rng: torch.Generator, progress: float = 0.0) -> Outcome:
        seen = self._embedding(self.pair.student, enlarged(sample))
        wanted = self._wanted(sample)
        loss = F.mse_loss(seen, wanted)
        return Outcome(loss=loss, scalars={"embedding": loss.detach()})

    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Image]:
        return {"student sees": enlarged(sample)[:PREVIEWS], "teacher sees": sample.hq[:PREVIEWS]}

    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        """Return how near the student on LQ comes to the teacher on HQ, and how near the teacher on LQ does."""
        wanted = self._wanted(sample)
        figures = {}
        for name, encoder in (("", self.pair.student), ("teacher_", self.pair.teacher)):
            seen = self._embedding(encoder, enlarged(sample))
            figures[f"{name}cosine"] = float(F.cosine_similarity(seen, wanted).mean())
            figures[f"{name}mse"] = float(F.mse_loss(seen, wanted))
        return figures

    @torch.no_grad()
    def _wanted(self, sample: Sample) -> Tensor:
        return self._embedding(self.pair.teacher, sample.hq)

    def _embedding(self, encoder: ImageEncoder, image: Image) -> Tensor:
        with self.pair.prior.precision():
            return encoder(image).float()


def enlarged(sample: Sample) -> Image:
    """Return LQ at the size of HQ, bicubic, in [0, 1]."""
    assert sample.lq is not None, "this objective needs pairs; give its stage a degradation, or paired photos"
    return resample(sample.lq, (sample.hq.shape[-2], sample.hq.shape[-1])).clamp(0, 1)
