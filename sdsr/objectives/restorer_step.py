"""One training step of a restorer: take it, compare what came out with its target, hear the discriminators.

What differs between objectives is a `StepRule`, which takes the step, and the terms that compare; encoding a pair,
targets, the generator's side of the game, previews and validation figures are written here once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.losses.terms import StepRecord, Term, weighted_sum
from sdsr.objectives.discriminator import Adversary, Discriminators
from sdsr.objectives.pairs import first, lq_image_of, nearness
from sdsr.objectives.training_step import Outcome, Sample
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import EncodedLq, Restorer, latent_region
from sdsr.restoration.sample import sample as restore
from sdsr.tensors import Image, Latent

PREVIEWS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A restored batch in validation: the title of its column, and what the names of its figures end with."""

    title: str = "restored"
    suffix: str = ""
    image: Image


class StepRule(Protocol):
    """How a step is taken, and what validation restores."""

    @property
    def restorer(self) -> Restorer: ...

    def take(self, sample: Sample, rng: Generator) -> StepRecord:
        """Return what one step made, with gradients to what learns."""
        ...

    def previews(self, sample: Sample, rng: Generator) -> list[Preview]:
        """Return the batch restored, in one way or several."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AdversarialWeights:
    """How much each discriminator weighs, by what it looks at, and from which share of the run on.

    Until then discriminators learn alone, so that their first word is an informed one. `balance(loss, adversarial)`
    gives what their weight is multiplied by.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    since: float = 0.0
    balance: Callable[[Tensor, Tensor], float] | None = None


class RestorerStep(nn.Module):
    """Trains what of a restorer's parts its method lets learn; its forward is one step, so it runs under DDP as it is.

    `modules` are saved in checkpoints, by name; None: the parts, as "trained". `near` gives the figures of a restored
    batch, and `figures` others that validation shows.
    """

    def __init__(
        self,
        rule: StepRule,
        terms: Sequence[Term],
        *,
        discriminator: Adversary | None = None,
        adversarial_weights: AdversarialWeights | None = None,
        modules: Mapping[str, nn.Module] | None = None,
        near: Callable[[Image, Image], dict[str, float]] = nearness,
        figures: Callable[[Sample, Generator], dict[str, float]] | None = None,
    ) -> None:
        super().__init__()
        self.rule = rule
        self.terms = tuple(terms)
        self.adversarial_weights = adversarial_weights or AdversarialWeights()
        self.near = near
        self.figures = figures
        for name, module in ({"trained": rule.restorer.parts.modules} if modules is None else modules).items():
            self.add_module(name, module)
        own = {id(parameter) for parameter in self.parameters()}
        learning = [p for part in self.trainable_modules.values() for p in part.parameters() if p.requires_grad]
        assert all(id(p) in own for p in learning), "what learns is saved in checkpoints"
        self._beside = (discriminator,)  # in a tuple: it is no submodule of what the main optimizer trains

    @property
    def restorer(self) -> Restorer:
        return self.rule.restorer

    @property
    def discriminator(self) -> Adversary | None:
        return self._beside[0]

    @property
    def trainable_modules(self) -> dict[str, nn.Module]:
        return dict(self.restorer.parts.modules.items())

    def forward(self, sample: Sample, rng: Generator, progress: float = 0.0) -> Outcome:
        record = self.rule.take(sample, rng)
        return compare(record, self.terms, self.discriminator, self.adversarial_weights, rng, progress)

    def pictures(self, sample: Sample, rng: Generator) -> dict[str, Image]:
        few = first(sample, PREVIEWS)
        columns = {preview.title: preview.image for preview in self.rule.previews(few, rng)}
        return {"bicubic": lq_image_of(self.restorer, few).enlarged(), **columns, "photo": few.hq}

    def measure(self, sample: Sample, rng: Generator) -> dict[str, float]:
        """Return how near each preview comes to the HQ photos, and the objective's own figures."""
        measured = {} if self.figures is None else self.figures(sample, rng)
        for preview in self.rule.previews(sample, rng):
            near = self.near(preview.image, sample.hq)
            measured |= {f"{name}{preview.suffix}": value for name, value in near.items()}
        return measured


def compare(
    record: StepRecord,
    terms: Sequence[Term],
    discriminator: Adversary | None,
    weighed: AdversarialWeights,
    rng: Generator,
    progress: float,
) -> Outcome:
    """Return the loss of what a step made: terms, and from a share of the run on what a discriminator says of it."""
    loss, values = weighted_sum(terms, record)
    scalars: dict[str, Tensor | float] = dict(values)
    if discriminator is None:
        return Outcome(loss=loss, scalars=scalars)
    if progress >= weighed.since:
        for kind, adversarial in discriminator.generator_losses(record, rng).items():
            name = f"adversarial_{kind}" if isinstance(discriminator, Discriminators) else "adversarial"
            weight = weighed.weights[kind]
            scalars[name] = adversarial.detach()
            if weighed.balance is not None:
                weight *= weighed.balance(loss, adversarial)
                scalars[f"{name}_weight"] = weight
            loss = loss + weight * adversarial
    elif "image" in discriminator.kinds:
        record.images()  # decoded before any weight changes, for the discriminator's own step
    return Outcome(loss=loss, scalars=scalars, record=record)


def encode_pair(restorer: Restorer, sample: Sample, prompt: str | None, noise: CanvasNoise) -> tuple[EncodedLq, Latent]:
    """Return the encoded LQ under a prompt (None: the method's own), and the HQ latent, the target.

    Each latent is a posterior sample of its own: with both at their mode, a step would learn from latents smoother than
    those it meets.
    """
    lq_image = lq_image_of(restorer, sample)
    encoded = restorer.encode_lq(lq_image, prompt, noise)
    region = latent_region(lq_image.region, restorer.factor)
    with torch.no_grad():
        drawn = noise.at("hq posterior", 0, region, restorer.channels)
        return encoded, restorer.prior.encode(sample.hq, drawn.to(encoded.latent))


def restored(restorer: Restorer, sample: Sample, plan: Plan, rng: Generator) -> Image:
    """Return a batch restored by a plan, as a user would see it."""
    noise = CanvasNoise.from_generator(rng, photos=len(sample.hq))
    last = restore(restorer, lq_image_of(restorer, sample), plan, noise)
    return restorer.decode(last.clean, last.encoded.lq_image).clamp(0, 1)
