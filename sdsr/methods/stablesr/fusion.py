"""Fusion: a decoder learns to take details of the LQ photo, on latents that the method itself restored.

The second stage of StableSR (arXiv:2305.07015, controllable feature wrapping) and its published code: L1, LPIPS and a
patch critic on what is decoded with fidelity 1. Deviation: the latents are restored in passing, and each is used some
times while it is among the last ones, where the authors made 100,000 of them beforehand.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sdsr.critics.patch import PatchCritic
from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.steps import ancestral
from sdsr.diffusion.times import spaced
from sdsr.images.color import wavelet
from sdsr.losses.adversarial import critic_hinge, generator_hinge
from sdsr.losses.lpips import load_lpips
from sdsr.losses.small_perceptual import load_small_perceptual
from sdsr.losses.terms import StepRecord, Term, image_l1, perceptual, weighted_sum
from sdsr.objectives.learner import Judged, Outcome, Sample
from sdsr.objectives.pairs import first, nearness, photograph_of
from sdsr.objectives.restoration import PREVIEWS
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer, Seen
from sdsr.restoration.sample import Sampled
from sdsr.restoration.sample import sample as restore
from sdsr.tensors import Image, Latent

MEASURED = (0.0, 0.5, 1.0)
STOCK = 64
_MOST = 1e4
_LEAST = 1e-4


class PatchJudge(nn.Module):
    """A patch critic as the fusion's other side, by the hinge loss."""

    def __init__(self, critic: PatchCritic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, judged: Judged, rng: torch.Generator) -> Outcome:
        """The critic's own loss."""
        loss = critic_hinge(self.critic(judged.real["image"]), self.critic(judged.fake["image"]))
        return Outcome(loss=loss, scalars={"image": float(loss.detach())})

    def opinion(self, image: Image) -> Tensor:
        """The decoder's loss, with gradients to the picture and none to the critic's weights."""
        self.requires_grad_(False)
        try:
            return generator_hinge(self.critic(image))
        finally:
            self.requires_grad_(True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """Weights of the terms, and how latents are restored: in `sampling_steps` ancestral steps.

    Restoring takes much longer than a training step, so only one step in `uses` restores its photos; the others take
    one of the last `STOCK` batches again, so that each is used as often in the mean (published: in 11 epochs).

    LPIPS has its published weights where `lpips_weights` names their file (of VGG-16), else the embedded small
    perceptual network stands in for it, whose distances are some ten times as large. `terms` are further ones.
    `critics_from`: the share of the run after which the critic is heard; it learns from the beginning. Deviation: the
    published one begins to learn only then, too. `corrected` compares pictures in the LQ photo's colors, as the wavelet
    fix delivers them, so that nothing is learned that the fix does anyway.

    `balance` "constant" is how the published code computes: the critic's weight is `critic`. "ratio" is how it was
    meant, after VQGAN (arXiv:2012.09841, Eq. 7): times the ratio of the gradients' norms of the other terms and of the
    critic's, at the last layer that learns; the code looks at a frozen layer, fails, and goes on without.
    """

    sampling_steps: int = 200
    uses: int = 11
    l1: float = 1.0
    lpips: float = 1.0
    critic: float = 0.025
    critics_from: float = 0.03
    balance: Literal["constant", "ratio"] = "constant"
    lpips_weights: str | None = None
    terms: tuple[Term, ...] = ()
    corrected: bool = False

    def learner(self, system: Restorer, critic: nn.Module | None) -> "FusionLearner":
        assert critic is None or isinstance(critic, PatchJudge), "fusion is watched by a `PatchJudge`"
        return FusionLearner(system, self, critic)

    @property
    def plan(self) -> Plan:
        """How latents are restored."""
        return Plan(times=spaced(self.sampling_steps), step=ancestral)

    def all_terms(self, device: torch.device) -> tuple[Term, ...]:
        """Return L1, LPIPS or what stands in for it, and the further terms."""
        if self.lpips_weights is None:
            distance = load_small_perceptual().distance()
        else:
            distance = load_lpips(Path(self.lpips_weights))
        return (
            Term(name="l1", weight=self.l1, function=image_l1),
            Term(name="lpips", weight=self.lpips, function=perceptual(distance.to(device))),
            *self.terms,
        )


class FusionLearner(nn.Module):
    """Trains what of a restorer's parts requires gradients, which is what its decoder fuses; the rest is kept."""

    def __init__(self, restorer: Restorer, objective: Fusion, critic: PatchJudge | None) -> None:
        super().__init__()
        self.restorer, self.objective = restorer, objective
        self.terms = objective.all_terms(restorer.prior.device)
        self.trained = restorer.parts.modules
        self._critic = [critic]  # in a list: the critic is no submodule of what the main optimizer trains
        self._stock: deque[tuple[Sample, Sampled]] = deque(maxlen=STOCK)
        self._steps = 0

    @property
    def critic(self) -> PatchJudge | None:
        return self._critic[0]

    @property
    def parts(self) -> dict[str, nn.Module]:
        return dict(self.trained.items())

    def forward(self, sample: Sample, rng: torch.Generator, progress: float = 0.0) -> Outcome:
        sample, restored = self._stocked(sample, rng)
        latent = restored.clean.clone()  # inference's own can't be differentiated through
        image = self._decoded(latent, restored.seen, 1.0)
        record = StepRecord(clean=latent, hq=latent, image=lambda: image, hq_image=sample.hq)
        loss, values = weighted_sum(self.terms, record)
        scalars = {name: float(value) for name, value in values.items()}
        if self.critic is None:
            return Outcome(loss=loss, scalars=scalars)
        if progress >= self.objective.critics_from:
            opinion = self.critic.opinion(image)
            weight = self.objective.critic * self._balance(loss, opinion)
            loss = loss + weight * opinion
            scalars |= {"adversarial": float(opinion.detach()), "adversarial_weight": float(weight)}
        return Outcome(loss=loss, scalars=scalars, judged=Judged(fake={"image": image}, real={"image": sample.hq}))

    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Image]:
        few = first(sample, PREVIEWS)
        restored = self._restored(few, rng)
        decoded = {f"fidelity {w:g}": image for w, image in self._measured(restored).items()}
        return {"bicubic": photograph_of(self.restorer, few).enlarged(), **decoded, "photo": few.hq}

    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        """Return how near the same latents come to the photo when they are decoded with different fidelities."""
        figures = {}
        for fidelity, image in self._measured(self._restored(sample, rng)).items():
            near: Mapping[str, float] = nearness(image, sample.hq)
            figures |= {f"{name}_w{fidelity:g}": value for name, value in near.items()}
        return figures

    def _stocked(self, sample: Sample, rng: torch.Generator) -> tuple[Sample, Sampled]:
        """Return this batch restored or, in all but one step of `uses`, one of the last that were."""
        fresh = self._steps % self.objective.uses == 0
        self._steps += 1
        if fresh:
            self._stock.append((sample, self._restored(sample, rng)))
            return self._stock[-1]
        return self._stock[int(torch.randint(len(self._stock), (), generator=rng))]

    def _restored(self, sample: Sample, rng: torch.Generator) -> Sampled:
        noise = CanvasNoise.from_generator(rng, photos=len(sample.hq))
        return restore(self.restorer, photograph_of(self.restorer, sample), self.objective.plan, noise)

    def _measured(self, restored: Sampled) -> dict[float, Image]:
        return {w: self._decoded(restored.clean, restored.seen, w).clamp(0, 1) for w in MEASURED}

    def _decoded(self, latent: Latent, seen: Seen, fidelity: float) -> Image:
        image = self.restorer.decode(latent, seen.photograph, fidelity=fidelity)
        if not self.objective.corrected:
            return image
        return wavelet(image, seen.photograph.enlarged().to(image.device))

    def _balance(self, loss: Tensor, opinion: Tensor) -> float:
        if self.objective.balance == "constant" or not loss.requires_grad:
            return 1.0
        last = _last_layer(self.trained)
        of_loss, of_opinion = (
            float(torch.autograd.grad(one, last, retain_graph=True)[0].norm()) for one in (loss, opinion)
        )
        return min(of_loss / (of_opinion + _LEAST), _MOST)


def _last_layer(parts: nn.Module) -> nn.Parameter:
    """The weight of the last convolution that learns, which is that of the fusion nearest to the pixels."""
    return parts.get_parameter("feature_wrapping.factor_2.out.conv2.weight")
