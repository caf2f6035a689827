"""Noise matching: the network predicts the noise that leads from the clean latent to the noisy one.

DDPM (arXiv:2006.11239), Eq. 14, on latents: the objective of the many-step methods (ConsisSR, StableSR). What noise is
added to is the objective's source; the target is always the noise that leads from the HQ latent to what came of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.steps import ancestral
from sdsr.diffusion.times import spaced
from sdsr.losses.terms import Scalar, StepRecord, Term
from sdsr.objectives.restorer_step import Preview, RestorerStep, encode_pair, restored
from sdsr.objectives.training_step import Sample
from sdsr.prior.condition import Condition, condition_at
from sdsr.prior.prior import Prior
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import EncodedLq, Restorer
from sdsr.tensors import Float, Latent, Time

MEASURED = (100, 400, 800)
REACH = 3  # cells around one, beyond which it hardly shows in the picture

Source = Callable[[Latent, Latent, Time, Generator], Latent]
"""(HQ latent, LQ latent, times, generator) -> the latents to be noised."""


def plain(hq: Latent, lq: Latent, t: Time, rng: Generator) -> Latent:
    """Return the HQ latent: the usual training of diffusion models (StableSR)."""
    return hq


def noise_matching_loss(
    prior: Prior, noisy: Latent, clean: Latent, t: Time, condition: Condition, *, channels: Tensor | None = None
) -> Tensor:
    """Return the mean squared error of the prediction, in float32, against its target for `clean`.

    The target's noise is what leads from `clean` to `noisy`. `channels` weigh those of the latent, (c, 1, 1).
    """
    schedule = prior.schedule
    target = schedule.target(clean, schedule.noise(noisy, clean, t), t)
    error = (prior.predict(noisy, t, condition) - target).square()
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
    `clearer` of the photos is mixed with HQ, in any ratio: who is to look at its own results has to know such.
    Validation restores photos as a user would, with the method's own prompts, in `preview_steps` ancestral steps with
    `guidance`.
    """

    source: Source = plain
    prompt: str = ""
    in_pixels: bool = False
    clearer: float = 0.0
    preview_steps: int = 10
    guidance: float | int = 1.0

    def training_step(self, restorer: Restorer, discriminator: nn.Module | None) -> RestorerStep:
        rule = NoisingStep(restorer=restorer, objective=self)
        channels = weight_in_pixels(restorer.prior) if self.in_pixels else None
        error = NoiseError(prior=restorer.prior, channels=channels)
        return RestorerStep(rule, (Term(name="noise", weight=1.0, function=error),), figures=rule.figures)

    @property
    def preview(self) -> Plan:
        """How validation restores."""
        return Plan(times=spaced(self.preview_steps), step=ancestral, guidance=float(self.guidance))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseError:
    """The term: of what the step's latent becomes at its time with its noise, how far the prediction is off."""

    prior: Prior
    channels: Tensor | None = None

    def __call__(self, record: StepRecord) -> Scalar:
        assert record.t is not None, "a time is drawn"
        assert record.noise is not None, "noise is drawn"
        assert isinstance(record.encoded, EncodedLq), "the condition is what a restorer encodes"
        noisy = self.prior.schedule.noisy(record.clean, record.noise, record.t)
        condition = condition_at(record.encoded.condition, noisy, record.t.to(noisy.device))
        return noise_matching_loss(self.prior, noisy, record.hq, record.t, condition, channels=self.channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisingStep:
    """Draws a time and noise for each photo; the network is asked by the term."""

    restorer: Restorer
    objective: NoiseMatching

    @property
    def unguided(self) -> Restorer:
        """The restorer that a step asks under one prompt only."""
        return replace(self.restorer, parts=replace(self.restorer.parts, negative_prompt=None))

    def take(self, sample: Sample, rng: Generator) -> StepRecord:
        encoded, hq = self.encode_lq(sample, rng)
        if self.objective.clearer:
            encoded = self._with_clearer(sample, encoded, rng)
        t = torch.randint(self.restorer.schedule.steps, (len(hq),), generator=rng)
        return _noising(self.objective.source(hq, encoded.latent, t, rng), hq, t, encoded, rng)

    def encode_lq(self, sample: Sample, rng: Generator) -> tuple[EncodedLq, Latent]:
        """Return the encoded LQ and the HQ latent."""
        noise = CanvasNoise.from_generator(rng, photos=len(sample.hq))
        return encode_pair(self.unguided, sample, self.objective.prompt, noise)

    def _with_clearer(self, sample: Sample, encoded: EncodedLq, rng: Generator) -> EncodedLq:
        chosen, ratios = torch.rand((2, len(sample.hq), 1, 1, 1), generator=rng).to(sample.hq)
        mixed = encoded.lq_image.enlarged().to(sample.hq).lerp(sample.hq, ratios * (chosen < self.objective.clearer))
        return self.unguided.refresh(encoded, lambda region: mixed[region.slices])

    def figures(self, sample: Sample, rng: Generator) -> dict[str, float]:
        """Return the loss at three fixed times, noise added to the HQ latent."""
        encoded, hq = self.encode_lq(sample, rng)
        error = NoiseError(prior=self.restorer.prior)
        figures = {}
        for time in MEASURED:
            t = torch.full((len(hq),), time)
            figures[f"noise_{time}"] = float(error(_noising(hq, hq, t, encoded, rng)))
        return figures

    def previews(self, sample: Sample, rng: Generator) -> list[Preview]:
        return [Preview(image=restored(self.restorer, sample, self.objective.preview, rng))]


def _noising(source: Latent, hq: Latent, t: Time, encoded: EncodedLq, rng: Generator) -> StepRecord:
    """The step that noises `source`, with fresh noise, and is to find HQ."""
    noise = torch.randn(hq.shape, generator=rng).to(hq)
    return StepRecord(clean=source, hq=hq, t=t, noise=noise, encoded=encoded)
