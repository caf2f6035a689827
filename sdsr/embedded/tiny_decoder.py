"""Distillation of a prior's decoder into a tiny one of the published layout (`prior/tiny_decoder.py`)."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, nn

from sdsr.losses.terms import StepRecord, Term, gradient_l1, image_l1, unevenness
from sdsr.methods.method import Device
from sdsr.objectives.pairs import mean_psnr
from sdsr.objectives.restorer_step import AdversarialWeights, compare
from sdsr.objectives.training_step import Outcome, Sample
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior
from sdsr.prior.running import lay_out
from sdsr.prior.tiny_decoder import NAME, TinyDecoder
from sdsr.tensors import Image, Latent


@dataclass(frozen=True, slots=True, kw_only=True)
class Distilled:
    """A frozen prior, the teacher, and the decoder that learns from it."""

    prior: Prior
    decoder: TinyDecoder


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTinyDecoder:
    """A new decoder for a prior's latents; the defaults are TAESD's."""

    width: int = 64
    blocks: tuple[int, ...] = (3, 3, 3, 1)

    def build(self, prior: str | Prior, device: Device = None) -> Distilled:
        teacher = load_prior(prior, device=device)
        decoder = TinyDecoder(teacher.channels, width=self.width, blocks=self.blocks)
        return Distilled(prior=teacher, decoder=lay_out(decoder, teacher.device))


_TERMS = (
    Term(name="image", weight=1.0, function=image_l1),
    Term(name="gradient", weight=1.0, function=gradient_l1),
    Term(name="unevenness", weight=0.5, function=partial(unevenness, 8)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderDistillation:
    """Terms on pixels, to what the prior's own decoder makes of the same latent.

    `latent_noise`: of the latents of photos, in their standard deviation, as those that are restored are guesses.
    """

    terms: tuple[Term, ...] = _TERMS
    latent_noise: float = 0.1

    def training_step(self, model: Distilled, discriminator: nn.Module | None) -> "DistillationStep":
        return DistillationStep(model, self)


class DistillationStep(nn.Module):
    """Trains a `TinyDecoder` on a prior's latents of photos."""

    discriminator: None = None

    def __init__(self, model: Distilled, objective: DecoderDistillation) -> None:
        super().__init__()
        self.decoder = model.decoder.requires_grad_(True)
        self.objective = objective
        self._beside = (model.prior,)  # in a tuple: it learns nothing and is in no checkpoint

    @property
    def prior(self) -> Prior:
        return self._beside[0]

    @property
    def trainable_modules(self) -> dict[str, nn.Module]:
        return {NAME: self.decoder}

    def forward(self, sample: Sample, rng: Generator, progress: float = 0.0) -> Outcome:
        latent, wanted = self._taught(sample, rng)
        with self.prior.precision():
            image = self.decoder(latent)
        record = StepRecord(clean=latent, hq=latent, image=lambda: image, hq_image=wanted)
        return compare(record, self.objective.terms, None, AdversarialWeights(), rng, progress)

    def pictures(self, sample: Sample, rng: Generator) -> dict[str, Image]:
        latent, wanted = self._taught(sample, None)
        return {"photo": sample.hq, "own decoder": wanted.clamp(0, 1), "tiny decoder": self._decoded(latent)}

    def measure(self, sample: Sample, rng: Generator) -> dict[str, float]:
        """Return PSNR to the own decoder's pictures, and both decoders' to the photos."""
        latent, wanted = self._taught(sample, None)
        tiny = self._decoded(latent)
        return {
            "psnr_to_own": mean_psnr(tiny, wanted.clamp(0, 1)),
            "psnr": mean_psnr(tiny, sample.hq),
            "psnr_of_own": mean_psnr(wanted.clamp(0, 1), sample.hq),
        }

    @torch.no_grad()
    def _taught(self, sample: Sample, rng: Generator | None) -> tuple[Latent, Image]:
        """Latents of photos, with noise where there is an `rng`, and what the own decoder makes of them."""
        latent = self.prior.encode(sample.hq)
        if rng is not None:
            noise = torch.randn(latent.shape, generator=rng, device=rng.device).to(latent)
            latent = latent + self.objective.latent_noise * latent.std() * noise
        return latent, self.prior.decode(latent)

    @torch.no_grad()
    def _decoded(self, latent: Latent) -> Image:
        with self.prior.precision():
            return self.decoder(latent).clamp(0, 1)
