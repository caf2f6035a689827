"""Restoration: take the inference step with gradients, and compare what comes out with the HQ photo.

The objective of the few-step methods (D3SR, InvSR, AddSR): weighted terms on latents and pixels, and critics.
"""

from dataclasses import dataclass, field
from functools import cache

import torch
from torch import nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.losses.dists import load_ea_dists
from sdsr.losses.terms import StepRecord, Term, latent_l2, latent_perceptual, perceptual, weighted_sum
from sdsr.objectives.critics import Critics
from sdsr.objectives.latent_distance import latent_distance
from sdsr.objectives.learner import Judged, Outcome, Sample
from sdsr.objectives.pairs import first, nearness, photograph_of
from sdsr.prior.prior import Prior
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer, latent_region
from sdsr.tensors import Image, Latent, Region, Time

PREVIEWS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """The plan whose first step is trained, the terms, and when (as a share of the run) the critics begin to be heard.

    Until then the critics learn alone, so that their first word is an informed one. `starts` are times for the trained
    step to start from, drawn for each photo; without them it is the plan's. `ea_dists` weighs EA-DISTS
    (arXiv:2410.04224) with DISTS's published weights where `dists_weights` names their file, else on the embedded small
    perceptual network, which stands in for it by value. `latent_lpips` weighs LPIPS between latents, by the network in
    the file `latent_lpips_weights` or by the prior's own features. `latent_critic` and `image_critic` weigh what the
    critics say.
    """

    plan: Plan
    starts: tuple[int, ...] = ()
    terms: tuple[Term, ...] = field(default_factory=lambda: (Term(name="latent", weight=1.0, function=latent_l2),))
    critics_from: float = 0.05
    latent_critic: float = 0.03
    image_critic: float = 0.03
    ea_dists: float = 0.0
    dists_weights: str | None = None
    latent_lpips: float = 0.0
    latent_lpips_weights: str = "prior"

    def learner(self, system: Restorer, critic: nn.Module | None) -> "RestorationLearner":
        assert critic is None or isinstance(critic, Critics), "restoration is watched by `Critics`"
        return RestorationLearner(system, self, critic)

    def all_terms(self, prior: Prior) -> tuple[Term, ...]:
        """Return the terms, with those that need a network if they weigh anything."""
        terms = self.terms
        if self.latent_lpips:
            distance = latent_distance(prior, self.latent_lpips_weights)
            terms += (Term(name="latent_lpips", weight=self.latent_lpips, function=latent_perceptual(distance)),)
        if self.ea_dists:
            distance = load_ea_dists(self.dists_weights, prior.device)
            terms += (Term(name="ea_dists", weight=self.ea_dists, function=perceptual(distance)),)
        return terms


class RestorationLearner(nn.Module):
    """Trains what of a restorer's parts its method lets learn, through one step of its plan."""

    def __init__(self, restorer: Restorer, objective: Restoration, critic: Critics | None) -> None:
        super().__init__()
        self.restorer, self.objective = restorer, objective
        self.terms = objective.all_terms(restorer.prior)
        self.trained = restorer.parts.modules
        self._critic = [critic]  # in a list: the critic is no submodule of what the main optimizer trains

    @property
    def critic(self) -> Critics | None:
        return self._critic[0]

    @property
    def parts(self) -> dict[str, nn.Module]:
        return dict(self.trained.items())

    def forward(self, sample: Sample, rng: torch.Generator, progress: float = 0.0) -> Outcome:
        prior, t = self.restorer.prior, self._times(len(sample.hq), rng)
        noise = CanvasNoise.from_generator(rng, photos=len(sample.hq))
        clean, hq = self.step(sample, noise, t), self._target(sample, noise)
        image = cache(lambda: prior.decode(clean))
        record = StepRecord(clean=clean, hq=hq, image=image, hq_image=sample.hq, t=t)
        loss, values = weighted_sum(self.terms, record)
        scalars = {name: float(value) for name, value in values.items()}
        if self.critic is None:
            return Outcome(loss=loss, scalars=scalars)
        judged = Judged(
            fake={"latent": clean} | ({"image": image()} if self.critic.sees_images else {}),
            real={"latent": hq, "image": sample.hq},
            t=t,
        )
        if progress >= self.objective.critics_from:
            weights = {"latent": self.objective.latent_critic, "image": self.objective.image_critic}
            for name, opinion in self.critic.opinion(judged, rng).items():
                loss = loss + weights[name] * opinion
                scalars[f"adversarial_{name}"] = float(opinion.detach())
        return Outcome(loss=loss, scalars=scalars, judged=judged)

    def step(self, sample: Sample, noise: CanvasNoise, t: Time) -> Latent:
        """Return the clean estimate of one step from the start at `t`, with gradients to the trained parts."""
        seen = self.restorer.observe(photograph_of(self.restorer, sample), None, noise)
        noisy = self.restorer.start(seen, t, noise)
        return self.restorer.denoise(noisy, t, seen, self.objective.plan.guidance)

    def _times(self, photos: int, rng: torch.Generator) -> Time:
        """Return when each photo starts."""
        starts = self.objective.starts
        if not starts:
            return torch.full((photos,), self.objective.plan.start_time)
        return torch.tensor(starts)[torch.randint(len(starts), (photos,), generator=rng)]

    @torch.no_grad()
    def _target(self, sample: Sample, noise: CanvasNoise) -> Latent:
        """Return the HQ latents; each is a posterior sample, as that of LQ."""
        prior, region = self.restorer.prior, Region.whole(*sample.hq.shape[-2:])
        drawn = noise.at("hq posterior", 0, latent_region(region, prior.factor), prior.channels)
        return prior.encode(sample.hq, drawn.to(sample.hq))

    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Image]:
        few = first(sample, PREVIEWS)
        enlarged = photograph_of(self.restorer, few).enlarged()
        return {"bicubic": enlarged, "restored": self._restored(few, rng), "photo": few.hq}

    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        return nearness(self._restored(sample, rng), sample.hq)

    def _restored(self, sample: Sample, rng: torch.Generator) -> Image:
        noise = CanvasNoise.from_generator(rng, photos=len(sample.hq))
        t = torch.full((len(sample.hq),), self.objective.plan.start_time)
        return self.restorer.prior.decode(self.step(sample, noise, t)).clamp(0, 1)
