"""Noise matching: the network predicts the noise that leads from the clean latent to the noisy one.

DDPM (arXiv:2006.11239), Eq. 14, on latents: the objective of the many-step methods (ConsisSR, StableSR). What noise is
added to is the objective's source; the target is always the noise that leads from the HQ latent to what came of it.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.steps import ancestral
from sdsr.diffusion.times import spaced
from sdsr.objectives.learner import Outcome, Sample
from sdsr.objectives.pairs import first, nearness, photograph_of
from sdsr.objectives.sources import Source, plain
from sdsr.prior.evidence import Evidence, evidence_at
from sdsr.prior.prior import Prior
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer, Seen, latent_region
from sdsr.restoration.sample import sample as restore
from sdsr.tensors import Image, Latent, Time

MEASURED = (100, 400, 800)
PREVIEWS = 6
REACH = 3  # cells around one, beyond which it hardly shows in the picture


def noise_matching_loss(
    prior: Prior, noisy: Latent, clean: Latent, t: Time, evidence: Evidence, *, channels: Tensor | None = None
) -> Tensor:
    """Return the mean squared error of the prediction, in float32, against its target for `clean`.

    The target's noise is what leads from `clean` to `noisy`. `channels` weigh those of the latent, (c, 1, 1).
    """
    schedule = prior.schedule
    target = schedule.target(clean, schedule.noise(noisy, clean, t), t)
    error = (prior.predict(noisy, t, evidence) - target).square()
    return (error if channels is None else error * channels).mean()


@torch.no_grad()
def weight_in_pixels(prior: Prior) -> Float[Tensor, "channels 1 1"]:
    """Return how much each channel of a latent moves the picture: the norm of what one cell's unit decodes to, mean 1.

    Any weights leave the best prediction what it is. With these, a network too small to be good everywhere is good
    where it shows: in colors and coarse shapes.
    """
    blank = torch.zeros(1, prior.channels, 2 * REACH + 1, 2 * REACH + 1, device=prior.device)
    units = blank.repeat(prior.channels, 1, 1, 1)
    units[:, :, REACH, REACH] = torch.eye(prior.channels, device=prior.device)
    norms = (prior.decode(units) - prior.decode(blank)).flatten(1).norm(dim=1)
    return (norms / norms.mean())[:, None, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseMatching:
    """What is noised (`source`), the prompt under which a method learns, and how errors are weighed.

    By default all channels of the latent count alike; `in_pixels` weighs them by `weight_in_pixels`. The share
    `clearer` of the photos is seen mixed with HQ, in any ratio: who is to look at its own results has to know such.
    Validation restores photos as a user would, with the method's own prompts, in `preview_steps` ancestral steps with
    `guidance`.
    """

    source: Source = plain
    prompt: str = ""
    in_pixels: bool = False
    clearer: float = 0.0
    preview_steps: int = 10
    guidance: float | int = 1.0

    def learner(self, system: Restorer, critic: nn.Module | None) -> "NoiseMatchingLearner":
        return NoiseMatchingLearner(system, self)

    @property
    def preview(self) -> Plan:
        """How validation restores."""
        return Plan(times=spaced(self.preview_steps), step=ancestral, guidance=float(self.guidance))


class NoiseMatchingLearner(nn.Module):
    """Trains what of a restorer's parts its method lets learn; everything else stays as it is."""

    critic: None = None

    def __init__(self, restorer: Restorer, objective: NoiseMatching) -> None:
        super().__init__()
        self.restorer, self.objective = restorer, objective
        self.trained = restorer.parts.modules
        self._channels = weight_in_pixels(restorer.prior) if objective.in_pixels else None
        self._unguided = replace(restorer, parts=replace(restorer.parts, negative_prompt=None))

    @property
    def parts(self) -> dict[str, nn.Module]:
        return dict(self.trained.items())

    def forward(self, sample: Sample, rng: torch.Generator, progress: float = 0.0) -> Outcome:
        hq, seen = self.observe(sample, rng)
        if self.objective.clearer:
            seen = self._seen_clearer(sample, seen, rng)
        t = torch.randint(self.restorer.schedule.steps, (len(hq),), generator=rng)
        loss = self._loss(self.objective.source(hq, seen.latent, t, rng), hq, t, seen, rng, channels=self._channels)
        return Outcome(loss=loss, scalars={"noise": float(loss.detach())})

    def observe(self, sample: Sample, rng: torch.Generator) -> tuple[Latent, Seen]:
        """Return the HQ latents and what is seen of LQ; each latent is a posterior sample of its own."""
        noise = CanvasNoise.from_generator(rng, photos=len(sample.hq))
        photograph, prior = photograph_of(self.restorer, sample), self.restorer.prior
        seen = self._unguided.observe(photograph, self.objective.prompt, noise)
        region = latent_region(photograph.region, prior.factor)
        with torch.no_grad():
            hq = prior.encode(sample.hq, noise.at("hq posterior", 0, region, prior.channels).to(seen.latent))
        return hq, seen

    def _seen_clearer(self, sample: Sample, seen: Seen, rng: torch.Generator) -> Seen:
        chosen, ratios = torch.rand((2, len(sample.hq), 1, 1, 1), generator=rng).to(sample.hq)
        mixed = seen.photograph.enlarged().to(sample.hq).lerp(sample.hq, ratios * (chosen < self.objective.clearer))
        return self._unguided.refresh(seen, lambda region: mixed[region.slices])

    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Image]:
        few = first(sample, PREVIEWS)
        enlarged = photograph_of(self.restorer, few).enlarged()
        return {"bicubic": enlarged, "restored": self._restored(few, rng), "photo": few.hq}

    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        """Return the loss at three fixed times, noise added to the HQ latent, and how near a restoration comes."""
        hq, seen = self.observe(sample, rng)
        figures = {}
        for time in MEASURED:
            t = torch.full((len(hq),), time)
            figures[f"noise_{time}"] = float(self._loss(hq, hq, t, seen, rng))
        return figures | nearness(self._restored(sample, rng), sample.hq)

    def _loss(
        self,
        source: Latent,
        hq: Latent,
        t: Time,
        seen: Seen,
        rng: torch.Generator,
        channels: Tensor | None = None,
    ) -> Tensor:
        prior = self.restorer.prior
        noisy = prior.schedule.noisy(source, torch.randn(hq.shape, generator=rng).to(hq), t)
        told = evidence_at(seen.evidence, noisy, t.to(noisy.device))
        return noise_matching_loss(prior, noisy, hq, t, told, channels=channels)

    def _restored(self, sample: Sample, rng: torch.Generator) -> Image:
        noise = CanvasNoise.from_generator(rng, photos=len(sample.hq))
        last = restore(self.restorer, photograph_of(self.restorer, sample), self.objective.preview, noise)
        return self.restorer.decode(last.clean, last.seen.photograph).clamp(0, 1)
