"""Restoration: take the inference step with gradients, and compare what comes out with the HQ photo.

The objective of the few-step methods (D3SR, InvSR, AddSR): weighted terms on latents and pixels, and critics.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.losses.dists import Dists, ea_dists, load_dists
from sdsr.losses.small_perceptual import load_small_perceptual
from sdsr.losses.terms import StepRecord, Term, latent_l2, perceptual, weighted_sum
from sdsr.objectives.critics import Critics
from sdsr.objectives.learner import Judged, Outcome, Sample
from sdsr.objectives.pairs import first, nearness, photograph_of
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer
from sdsr.tensors import Image, Latent

PREVIEWS = 6
SMALL_PERCEPTUAL = Path(__file__).parents[1] / "assets" / "small-perceptual" / "perceptual.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """The plan whose first step is trained, the terms, and when (as a share of the run) the critics begin to be heard.

    Until then the critics learn alone, so that their first word is an informed one. `ea_dists` weighs EA-DISTS
    (arXiv:2410.04224) with DISTS's published weights where `dists_weights` names their file, else on the embedded small
    perceptual network, which stands in for it by value. `latent_critic` and `image_critic` weigh what the critics say.
    """

    plan: Plan
    terms: tuple[Term, ...] = field(default_factory=lambda: (Term(name="latent", weight=1.0, function=latent_l2),))
    critics_from: float = 0.05
    latent_critic: float = 0.03
    image_critic: float = 0.03
    ea_dists: float = 0.0
    dists_weights: str | None = None

    def learner(self, system: Restorer, critic: nn.Module | None) -> "RestorationLearner":
        assert critic is None or isinstance(critic, Critics), "restoration is watched by `Critics`"
        return RestorationLearner(system, self, critic)

    def all_terms(self, device: torch.device) -> tuple[Term, ...]:
        """Return the terms, with EA-DISTS on that device if it weighs anything."""
        if not self.ea_dists:
            return self.terms
        if self.dists_weights is None:
            distance = Dists(load_small_perceptual(SMALL_PERCEPTUAL))
        else:
            distance = load_dists(Path(self.dists_weights))
        edge_aware = Term(name="ea_dists", weight=self.ea_dists, function=perceptual(ea_dists(distance.to(device))))
        return (*self.terms, edge_aware)


class RestorationLearner(nn.Module):
    """Trains the parts of a restorer through one step of its plan; the rest of its prior is frozen."""

    def __init__(self, restorer: Restorer, objective: Restoration, critic: Critics | None) -> None:
        super().__init__()
        self.restorer, self.objective = restorer, objective
        self.terms = objective.all_terms(restorer.prior.device)
        self.trained = restorer.parts.modules.requires_grad_(True)
        self._critic = [critic]  # in a list: the critic is no submodule of what the main optimizer trains

    @property
    def critic(self) -> Critics | None:
        return self._critic[0]

    @property
    def parts(self) -> dict[str, nn.Module]:
        return dict(self.trained.items())

    def forward(self, sample: Sample, rng: torch.Generator, progress: float = 0.0) -> Outcome:
        prior, times = self.restorer.prior, self.objective.plan.times
        clean = self.step(sample, rng)
        with torch.no_grad():
            hq = prior.encode(sample.hq)
        image = cache(lambda: prior.decode(clean))
        t = torch.full((len(clean),), times[0])
        record = StepRecord(clean=clean, hq=hq, image=image, hq_image=sample.hq, t=t)
        loss, values = weighted_sum(self.terms, record)
        scalars = {name: float(value) for name, value in values.items()}
        if self.critic is None:
            return Outcome(loss=loss, scalars=scalars)
        judged = Judged(
            fake={"latent": clean} | ({"image": image()} if self.critic.sees_images else {}),
            real={"latent": hq, "image": sample.hq},
        )
        if progress >= self.objective.critics_from:
            weights = {"latent": self.objective.latent_critic, "image": self.objective.image_critic}
            for name, opinion in self.critic.opinion(judged.fake, rng).items():
                loss = loss + weights[name] * opinion
                scalars[f"adversarial_{name}"] = float(opinion.detach())
        return Outcome(loss=loss, scalars=scalars, judged=judged)

    def step(self, sample: Sample, rng: torch.Generator) -> Latent:
        """Return the clean estimate of the plan's first step, with gradients to the trained parts."""
        noise = CanvasNoise.from_generator(rng, photos=len(sample.hq))
        photograph = photograph_of(self.restorer, sample)
        seen = self.restorer.observe(photograph, None, noise)
        plan = self.objective.plan
        noisy = self.restorer.start(seen, plan.start_time, noise)
        return self.restorer.denoise(noisy.detach(), plan.times[0], seen, plan.guidance)

    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Image]:
        few = first(sample, PREVIEWS)
        enlarged = photograph_of(self.restorer, few).enlarged()
        return {"bicubic": enlarged, "restored": self._restored(few, rng), "photo": few.hq}

    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        return nearness(self._restored(sample, rng), sample.hq)

    def prepare(self, samples: list[Sample]) -> None:
        """Nothing is taken from samples before training."""

    def finish(self, samples: list[Sample]) -> None:
        """Nothing is measured after training."""

    def _restored(self, sample: Sample, rng: torch.Generator) -> Image:
        return self.restorer.prior.decode(self.step(sample, rng)).clamp(0, 1)
