"""Timestep-adaptive adversarial distillation: a few-step student learns from a teacher that sees the HQ photo.

AddSR (arXiv:2404.01717), after adversarial diffusion distillation (arXiv:2311.17042). The student takes one step of its
plan with gradients, as often as not after another one whose result it has looked at; the teacher is shown the student's
estimate, noised to random times, and its own estimates are what the student's picture is compared with. How much that
counts, against a discriminator's word, grows along the student's plan.

Teacher and student are restorers on one prior, attached together; the adapter that its condition names tells them
apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Generator, Tensor, nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.losses.dists import load_ea_dists
from sdsr.losses.terms import Scalar, StepRecord, Term, perceptual
from sdsr.objectives.discriminator import Discriminator
from sdsr.objectives.restorer_step import AdversarialWeights, Preview, RestorerStep, encode_pair, restored
from sdsr.objectives.training_step import Sample
from sdsr.restoration.plan import Plan, Refinement
from sdsr.restoration.restorer import EncodedLq, Restorer, latent_region
from sdsr.tensors import Float, Image, Latent, Region, Time

PerPhoto = Float[Tensor, " b"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWeights:
    """How much distillation counts at the student's steps: `least` * `growth` ** (steps before it in the plan).

    `lagging` is as published, where a step that follows another gets the weight of that one, and the first step, when
    it is trained alone, the greatest: 4.63, 0.5, 1.05, 2.205 along the plan instead of 0.5, 1.05, 2.205, 4.63. A
    `growth` of 1 is a constant weight.
    """

    least: float = 0.5
    growth: float = 2.1
    lagging: bool = False

    def at(self, places: Sequence[int], count: int) -> PerPhoto:
        """Return the weights of steps at these places of a plan of `count`."""
        if self.lagging:
            places = [(place - 1) % count for place in places]
        return torch.tensor([self.least * self.growth**place for place in places])


def distance(student: Image, teacher: Sequence[Image], weights: Sequence[PerPhoto]) -> PerPhoto:
    """Return each photo's mean squared difference from the teacher's pictures, each of them weighed."""
    errors = [
        weight * (picture - student).square().mean((1, 2, 3)) for picture, weight in zip(teacher, weights, strict=True)
    ]
    return torch.stack(errors).mean(0)


def teacher_weight(schedule: NoiseSchedule, t: Time) -> PerPhoto:
    """Return sqrt(alpha_bar), the signal that the teacher's input has kept (arXiv:2311.17042; as published)."""
    return schedule.signal(t).float()


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """The student's plan, how its teacher is made, and what counts how much.

    `teacher(student)` builds the teacher beside the student, who begins as its equal. `draws` are the teacher's times
    for each photo. `alone` is how often the plan's first step is trained; otherwise a later one is, after the one
    before it, whose result it sees mixed with the photo as `looked_back` says: published with a weight of 1, where
    restoring has `plan.refinement`. What a step starts from is the noised HQ latent as published, or with `rollout`
    what restoring comes to there: all steps before it are taken, from the noised LQ latent on, and looked back at.
    `terms` are further ones, on the student's latent and picture; `ea_dists` weighs another, EA-DISTS on the embedded
    small perceptual network. `prompt` None is the method's own.
    """

    plan: Plan
    teacher: Callable[[Restorer], Restorer]
    weights: StepWeights = field(default_factory=StepWeights)
    draws: int = 4
    alone: float = 0.5
    looked_back: Refinement = field(default_factory=partial(Refinement, weight=1.0))
    rollout: bool = False
    adversarial: float = 0.02
    adversarial_from: float = 0.0
    terms: tuple[Term, ...] = ()
    ea_dists: float = 0.0
    prompt: str | None = None

    def training_step(self, restorer: Restorer, discriminator: nn.Module | None) -> RestorerStep:
        assert discriminator is None or isinstance(discriminator, Discriminator), (
            "distillation is watched by a `Discriminator`"
        )
        return RestorerStep(
            StudentStep(restorer=restorer, objective=self),
            self.all_terms(restorer),
            discriminator=discriminator,
            adversarial_weights=AdversarialWeights(weights={"image": self.adversarial}, since=self.adversarial_from),
        )

    def all_terms(self, student: Restorer) -> tuple[Term, ...]:
        """Return the teacher's term, the further ones, and the one that needs a network if it weighs anything."""
        teacher = self.teacher(student)
        teacher.parts.modules.requires_grad_(False).eval()
        taught = TeacherDistance(restorer=teacher, draws=self.draws, weights=self.weights, times=self.plan.times)
        terms = (Term(name="distillation", weight=1.0, function=taught), *self.terms)
        if not self.ea_dists:
            return terms
        function = partial(perceptual, load_ea_dists(None, student.prior.device))
        return (*terms, Term(name="ea_dists", weight=self.ea_dists, function=function))


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherDistance:
    """The term: the student's picture against the teacher's, by the weight of the student's step.

    The teacher is shown the student's estimate, noised to times of its own with the noise that the student had, and the
    HQ photo in the LQ one's place: so it says what it would have made of this estimate, had it known the truth.
    """

    restorer: Restorer
    draws: int
    weights: StepWeights
    times: tuple[int, ...]

    def __call__(self, record: StepRecord) -> Scalar:
        assert record.t is not None, "the student's times are known"
        distances = distance(record.images()[0], *self.answers(record))
        places = [self.times.index(t) for t in record.t.tolist()]
        return (self.weights.at(places, len(self.times)).to(distances) * distances).mean()

    @torch.no_grad()
    def answers(self, record: StepRecord) -> tuple[list[Image], list[PerPhoto]]:
        """Return the teacher's pictures, and the weights of their times."""
        assert record.noise is not None, "the student had noise"
        assert record.hq_image is not None, "the teacher looks at it"
        assert isinstance(record.encoded, EncodedLq), "the teacher's condition is the student's, renewed"
        teacher = self.restorer
        schedule = self.restorer.schedule
        hq = record.hq_image
        told = teacher.refresh(record.encoded, lambda region: hq[region.slices])
        pictures = []
        weights = []
        for _ in range(self.draws):
            t = torch.randint(schedule.steps, (len(hq),), generator=record.rng)
            noisy = schedule.noisy(record.clean.detach(), record.noise, t)
            pictures.append(teacher.prior.decode(teacher.denoise(noisy, t, told)).clamp(0, 1))
            weights.append(teacher_weight(schedule, t).to(hq.device))
        return pictures, weights


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentStep:
    """One step of the student's plan with gradients; a later one after the one before it, or in a rollout after all."""

    restorer: Restorer
    objective: Distillation

    def take(self, sample: Sample, rng: Generator) -> StepRecord:
        restorer = self.restorer
        objective = self.objective
        times = self.objective.plan.times
        drawn = CanvasNoise.from_generator(rng, photos=len(sample.hq))
        encoded, hq = encode_pair(restorer, sample, objective.prompt, drawn)
        region = latent_region(Region.whole(*sample.hq.shape[-2:]), restorer.factor)
        noise = drawn.at("start", 0, region, restorer.channels).to(hq)
        places = self._places(len(hq), rng)
        source = hq
        if places[0] and objective.rollout:
            source, encoded = self._rolled_out(encoded, noise, times[: places[0]], rng)
            noise = torch.randn(hq.shape, generator=rng).to(hq)
        elif places[0]:
            before = torch.tensor([times[place - 1] for place in places])
            _, encoded = self._looked_back(encoded, restorer.schedule.noisy(hq, noise, before), before)
        t = torch.tensor([times[place] for place in places])
        clean = restorer.denoise(restorer.schedule.noisy(source, noise, t), t, encoded, objective.plan.guidance)
        image = restorer.prior.decode(clean).clamp(0, 1)
        return StepRecord(
            clean=clean,
            hq=hq,
            image=lambda: image,
            hq_image=sample.hq,
            lq=sample.lq,
            t=t,
            noise=noise,
            encoded=encoded,
            rng=rng,
        )

    def _places(self, photos: int, rng: Generator) -> list[int]:
        """Draw the places of the plan that are trained: the first for all photos, or later ones for all.

        In a rollout they are the same for all, since all take the steps before together.
        """
        count = len(self.objective.plan.times)
        if count == 1 or float(torch.rand((), generator=rng)) <= self.objective.alone:
            return [0] * photos
        if self.objective.rollout:
            return [1 + int(torch.randint(count - 1, (1,), generator=rng))] * photos
        return (1 + torch.randint(count - 1, (photos,), generator=rng)).tolist()

    def _rolled_out(
        self, encoded: EncodedLq, noise: Latent, times: tuple[int, ...], rng: Generator
    ) -> tuple[Latent, EncodedLq]:
        """Return what restoring finds after these times of the plan, and what it sees of the photo then."""
        source = encoded.latent
        for t in times:
            source, encoded = self._looked_back(encoded, self.restorer.schedule.noisy(source, noise, t), t)
            noise = torch.randn(source.shape, generator=rng).to(source)
        return source, encoded

    @torch.no_grad()
    def _looked_back(self, encoded: EncodedLq, noisy: Latent, t: int | Time) -> tuple[Latent, EncodedLq]:
        """A step without gradients: what it finds, and what the next one sees: its picture mixed with the photo."""
        found = self.restorer.denoise(noisy, t, encoded, self.objective.plan.guidance)
        decoded = self.restorer.decode(found, encoded.lq_image)
        lq = encoded.lq_image.enlarged().to(found.device)
        mixture = self.objective.looked_back.blend(decoded, lq)
        with torch.enable_grad():
            return found, self.restorer.refresh(encoded, lambda region: mixture[region.slices])

    def previews(self, sample: Sample, rng: Generator) -> list[Preview]:
        """Return what the plan's first step makes alone, and what all of them make."""
        plan = self.objective.plan
        alone = restored(self.restorer, sample, replace(plan, times=plan.times[:1]), rng)
        first = Preview(title="one step", suffix="_1", image=alone)
        return [first, Preview(image=restored(self.restorer, sample, plan, rng))]
