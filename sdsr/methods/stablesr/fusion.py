"""Fusion: a decoder learns to take details of the LQ photo, on latents that the method itself restored.

The second stage of StableSR (arXiv:2305.07015, controllable feature wrapping) and its published code: L1, LPIPS and a
patch discriminator on what is decoded with fidelity 1. Deviation: the latents are restored in passing, and each is used
some times while it is among the last ones, where the authors made 100,000 of them beforehand.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor, nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.steps import ancestral
from sdsr.diffusion.times import spaced
from sdsr.images.color import wavelet
from sdsr.losses.lpips import load_lpips_or_small
from sdsr.losses.terms import StepRecord, Term, image_l1, perceptual
from sdsr.objectives.discriminator import Discriminator
from sdsr.objectives.pairs import lq_image_of
from sdsr.objectives.restored import RestoredLatents
from sdsr.objectives.restorer_step import AdversarialWeights, Preview, RestorerStep
from sdsr.objectives.training_step import Sample
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer
from sdsr.restoration.sample import sample as restore
from sdsr.tensors import Image, Latent

MEASURED = (0.0, 0.5, 1.0)
STOCK = 64
_MOST = 1e4
_LEAST = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """Weights of the terms, and how latents are restored: in `sampling_steps` ancestral steps.

    Restoring takes much longer than a training step, so only one step in `uses` takes a new batch; the others take one
    of the last `STOCK` again, so that each is used as often in the mean (published: in 11 epochs).

    LPIPS has its published weights where `lpips_weights` names their file (of VGG-16), else the embedded small
    perceptual network stands in for it, whose distances are some ten times as large. `terms` are further ones.
    `adversarial_from`: the share of the run after which the discriminator is heard; it learns from the beginning.
    Deviation: the published one begins to learn only then, too. `corrected` compares pictures in the LQ photo's colors,
    as the wavelet fix delivers them, so that nothing is learned that the fix does anyway.

    `balance` "constant" is how the published code computes: the discriminator's weight is `adversarial`. "ratio" is how
    it was meant, after VQGAN (arXiv:2012.09841, Eq. 7): times the ratio of the gradients' norms of the other terms and
    of the discriminator's, at the last layer that learns; the code looks at a frozen layer, fails, and goes on without.
    """

    sampling_steps: int = 200
    uses: int = 11
    l1: float = 1.0
    lpips: float = 1.0
    adversarial: float = 0.025
    adversarial_from: float = 0.03
    balance: Literal["constant", "ratio"] = "constant"
    lpips_weights: str | None = None
    terms: tuple[Term, ...] = ()
    corrected: bool = False

    def training_step(self, restorer: Restorer, discriminator: nn.Module | None) -> RestorerStep:
        assert discriminator is None or isinstance(discriminator, Discriminator), (
            "fusion is watched by a `Discriminator`"
        )
        rule = FusedDecoding(restorer, self)
        balance = rule.balance if self.balance == "ratio" else _constant
        return RestorerStep(
            rule,
            self.all_terms(restorer.prior.device),
            discriminator=discriminator,
            adversarial_weights=AdversarialWeights(
                weights={"image": self.adversarial}, since=self.adversarial_from, balance=balance
            ),
        )

    def batch_of(self, step: int, seed: int) -> int:
        """Return the number of the batch that a step trains on: a new one, or one of the last `STOCK`."""
        newest, again = divmod(step, self.uses)
        if not again:
            return newest
        oldest = max(0, newest + 1 - STOCK)
        return int(np.random.default_rng((seed, step)).integers(oldest, newest + 1))

    @property
    def plan(self) -> Plan:
        """How latents are restored."""
        return Plan(times=spaced(self.sampling_steps), step=ancestral)

    def all_terms(self, device: torch.device) -> tuple[Term, ...]:
        """Return L1, LPIPS or what stands in for it, and the further terms."""
        distance = load_lpips_or_small(self.lpips_weights, device)
        return (
            Term(name="l1", weight=self.l1, function=image_l1),
            Term(name="lpips", weight=self.lpips, function=partial(perceptual, distance)),
            *self.terms,
        )


class FusedDecoding:
    """Decodes, with all that the fusion adds, latents that the method restored."""

    def __init__(self, restorer: Restorer, objective: Fusion) -> None:
        self.restorer = restorer
        self.objective = objective
        self.latents = RestoredLatents(self.restored, most=STOCK)

    def take(self, sample: Sample, rng: Generator) -> StepRecord:
        if sample.numbers is None:
            noise = CanvasNoise.from_generator(rng, photos=len(sample.hq))
            latent = self.restored(sample, noise).clone()  # inference's own can't be differentiated through
        else:
            latent = self.latents.of(sample)
        image = self.decoded(sample, latent, 1.0)
        return StepRecord(clean=latent, hq=latent, image=lambda: image, hq_image=sample.hq)

    def restored(self, sample: Sample, noise: CanvasNoise) -> Latent:
        return restore(self.restorer, lq_image_of(self.restorer, sample), self.objective.plan, noise).clean

    def decoded(self, sample: Sample, latent: Latent, fidelity: float) -> Image:
        lq_image = lq_image_of(self.restorer, sample)
        image = self.restorer.decode(latent, lq_image, fidelity=fidelity)
        if not self.objective.corrected:
            return image
        return wavelet(image, lq_image.enlarged().to(image.device))

    def previews(self, sample: Sample, rng: Generator) -> list[Preview]:
        """Return the same latents, decoded with different fidelities."""
        latent = self.restored(sample, CanvasNoise.from_generator(rng, photos=len(sample.hq)))
        return [
            Preview(
                title=f"fidelity {fidelity:g}",
                suffix=f"_w{fidelity:g}",
                image=self.decoded(sample, latent, fidelity).clamp(0, 1),
            )
            for fidelity in MEASURED
        ]

    def balance(self, loss: Tensor, adversarial: Tensor) -> float:
        """Return the ratio of both losses' gradients at the last layer (VQGAN, arXiv:2012.09841, Eq. 7)."""
        if not loss.requires_grad:
            return 1.0
        last = _last_layer(self.restorer.parts.modules)
        of_loss, of_adversarial = (
            float(torch.autograd.grad(one, last, retain_graph=True)[0].norm()) for one in (loss, adversarial)
        )
        return min(of_loss / (of_adversarial + _LEAST), _MOST)


def _constant(loss: Tensor, adversarial: Tensor) -> float:
    """As the published code computes: the ratio's failure leaves 1."""
    return 1.0


def _last_layer(parts: nn.Module) -> nn.Parameter:
    """The weight of the last convolution that learns, which is that of the fusion nearest to the pixels."""
    return parts.get_parameter("feature_wrapping.factor_2.out.conv2.weight")
