"""Restoration: take the inference step with gradients, and compare what comes out with the HQ photo.

The objective of the few-step methods. D3SR (arXiv:2410.04224): squared error + EA-DISTS + L_G, the first two on pixels.
InvSR (arXiv:2412.09013, as published): squared error + 2 LPIPS + 0.1 L_G, all of them on latents.
"""

from dataclasses import dataclass, field
from functools import cache, partial

import torch
from torch import Generator, nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.losses.dists import load_ea_dists
from sdsr.losses.terms import StepRecord, Term, latent_l2, latent_perceptual, perceptual
from sdsr.objectives.discriminator import Discriminators
from sdsr.objectives.latent_distance import latent_distance
from sdsr.objectives.pairs import lq_image_of
from sdsr.objectives.restorer_step import AdversarialWeights, Preview, RestorerStep, encode_pair
from sdsr.objectives.training_step import Sample
from sdsr.prior.prior import Prior
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import EncodedLq, Restorer
from sdsr.tensors import Latent, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """The plan whose first step is trained, the terms, and when (as a share of the run) discriminators begin to count.

    Until then the discriminators learn alone, so that their first word is an informed one. `starts` are times for the
    trained step to start from, drawn for each photo; without them it is the plan's. `ea_dists` weighs EA-DISTS
    (arXiv:2410.04224) with DISTS's published weights where `dists_weights` names their file, else on the embedded small
    perceptual network, which stands in for it by value. `latent_lpips` weighs LPIPS between latents, by the network in
    the file `latent_lpips_weights` or by the prior's own features. `adversarial_latent` and `adversarial_image` weigh
    what the discriminators say.
    """

    plan: Plan
    starts: tuple[int, ...] = ()
    terms: tuple[Term, ...] = field(default_factory=lambda: (Term(name="latent", weight=1.0, function=latent_l2),))
    adversarial_from: float = 0.05
    adversarial_latent: float = 0.03
    adversarial_image: float = 0.03
    ea_dists: float = 0.0
    dists_weights: str | None = None
    latent_lpips: float = 0.0
    latent_lpips_weights: str = "prior"

    def training_step(self, restorer: Restorer, discriminator: nn.Module | None) -> RestorerStep:
        assert discriminator is None or isinstance(discriminator, Discriminators), (
            "restoration is watched by `Discriminators`"
        )
        return RestorerStep(
            InferenceStep(restorer=restorer, plan=self.plan, starts=self.starts),
            self.all_terms(restorer.prior),
            discriminator=discriminator,
            adversarial_weights=AdversarialWeights(
                weights={"latent": self.adversarial_latent, "image": self.adversarial_image},
                since=self.adversarial_from,
            ),
        )

    def all_terms(self, prior: Prior) -> tuple[Term, ...]:
        """Return the terms, with those that need a network if they weigh anything."""
        terms = self.terms
        if self.latent_lpips:
            distance = latent_distance(prior, self.latent_lpips_weights)
            terms += (
                Term(name="latent_lpips", weight=self.latent_lpips, function=partial(latent_perceptual, distance)),
            )
        if self.ea_dists:
            distance = load_ea_dists(self.dists_weights, prior.device)
            terms += (Term(name="ea_dists", weight=self.ea_dists, function=partial(perceptual, distance)),)
        return terms


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceStep:
    """The first step of a plan, taken as in restoring, from its start time or from one of `starts` for each photo."""

    restorer: Restorer
    plan: Plan
    starts: tuple[int, ...] = ()

    def take(self, sample: Sample, rng: Generator) -> StepRecord:
        prior = self.restorer.prior
        t = self.times(len(sample.hq), rng)
        noise = CanvasNoise.from_generator(rng, photos=len(sample.hq))
        encoded, hq = encode_pair(self.restorer, sample, None, noise)
        clean = self.step(encoded, noise, t)
        image = cache(lambda: prior.decode(clean))
        return StepRecord(clean=clean, hq=hq, image=image, hq_image=sample.hq, t=t)

    def step(self, encoded: EncodedLq, noise: CanvasNoise, t: Time) -> Latent:
        """Return the clean estimate of one step from the start at `t`, with gradients to the trained parts."""
        return self.restorer.denoise(self.restorer.start(encoded, t, noise), t, encoded, self.plan.guidance)

    def times(self, photos: int, rng: Generator) -> Time:
        """Return when each photo starts."""
        if not self.starts:
            return torch.full((photos,), self.plan.start_time)
        return torch.tensor(self.starts)[torch.randint(len(self.starts), (photos,), generator=rng)]

    def previews(self, sample: Sample, rng: Generator) -> list[Preview]:
        noise = CanvasNoise.from_generator(rng, photos=len(sample.hq))
        t = torch.full((len(sample.hq),), self.plan.start_time)
        encoded = self.restorer.encode_lq(lq_image_of(self.restorer, sample), None, noise)
        return [Preview(image=self.restorer.prior.decode(self.step(encoded, noise, t)).clamp(0, 1))]
