"""Timestep-adaptive adversarial distillation: a few-step student learns from a teacher that sees the HQ photo.

AddSR (arXiv:2404.01717), after adversarial diffusion distillation (arXiv:2311.17042). The student takes one step of its
plan with gradients, as often as not after another one whose result it has looked at; the teacher is shown the student's
estimate, noised to random times, and its own estimates are what the student's picture is compared with. How much that
counts, against a critic's word, grows along the student's plan.

Teacher and student are restorers on one prior, attached together; each says in its evidence who speaks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.losses.adversarial import critic_hinge, generator_hinge
from sdsr.losses.dists import load_ea_dists
from sdsr.losses.terms import StepRecord, Term, perceptual, weighted_sum
from sdsr.methods.addsr.discriminator import TokenCritic
from sdsr.objectives.critics import still
from sdsr.objectives.learner import Judged, Outcome, Sample
from sdsr.objectives.pairs import first, nearness, photograph_of
from sdsr.restoration.plan import Plan, Refinement
from sdsr.restoration.restorer import Restorer, Seen, latent_region
from sdsr.restoration.sample import sample as restore
from sdsr.tensors import Image, Latent, Time

PREVIEWS = 6
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

    def at(self, places: Sequence[int], before: Sequence[int] | None, count: int) -> PerPhoto:
        """Return the weights of steps at these places of a plan of `count`, which came after steps `before`, if any."""
        if self.lagging:
            places = [count - 1] * len(places) if before is None else before
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
    critics_from: float = 0.0
    terms: tuple[Term, ...] = ()
    ea_dists: float = 0.0
    prompt: str | None = None

    def learner(self, system: Restorer, critic: nn.Module | None) -> "DistillationLearner":
        assert critic is None or isinstance(critic, TokenGame), "distillation is watched by a `TokenGame`"
        return DistillationLearner(system, self, critic)

    def all_terms(self, device: torch.device) -> tuple[Term, ...]:
        """Return the further terms, with the one that needs a network if it weighs anything."""
        if not self.ea_dists:
            return self.terms
        function = perceptual(load_ea_dists(None, device))
        return (*self.terms, Term(name="ea_dists", weight=self.ea_dists, function=function))


class TokenGame(nn.Module):
    """The hinge game of a critic that is told the LQ photo."""

    def __init__(self, critic: TokenCritic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, judged: Judged, rng: torch.Generator) -> Outcome:
        """relu(1 - real) + relu(1 + fake), not halved, as published."""
        real, fake = (self.critic(side["image"], judged.real["lq"], rng) for side in (judged.real, judged.fake))
        loss = 2 * critic_hinge(real, fake)
        return Outcome(loss=loss, scalars={"image": float(loss.detach())})

    def opinion(self, judged: Judged, rng: torch.Generator) -> Tensor:
        """-fake, with gradients to the picture and none to the critic's weights."""
        with still(self):
            return generator_hinge(self.critic(judged.fake["image"], judged.real["lq"], rng))


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A step that the student took with gradients: its places in the plan, those before, and what it saw and made."""

    places: list[int]
    before: list[int] | None
    t: Time
    hq: Latent
    noise: Latent
    seen: Seen
    clean: Latent


class DistillationLearner(nn.Module):
    """Trains what of a restorer's parts its method lets learn; its teacher stays as it is."""

    def __init__(self, restorer: Restorer, objective: Distillation, critic: TokenGame | None) -> None:
        super().__init__()
        self.restorer, self.objective = restorer, objective
        self.terms = objective.all_terms(restorer.prior.device)
        self.trained = restorer.parts.modules
        teacher = objective.teacher(restorer)
        teacher.parts.modules.requires_grad_(False).eval()
        self._beside = (teacher, critic)  # in a tuple: they are no submodules of what the main optimizer trains

    @property
    def teacher(self) -> Restorer:
        return self._beside[0]

    @property
    def critic(self) -> TokenGame | None:
        return self._beside[1]

    @property
    def parts(self) -> dict[str, nn.Module]:
        return dict(self.trained.items())

    def forward(self, sample: Sample, rng: torch.Generator, progress: float = 0.0) -> Outcome:
        objective, prior = self.objective, self.restorer.prior
        taken = self.take_step(sample, rng)
        image = prior.decode(taken.clean).clamp(0, 1)
        distances = distance(image, *self.taught(taken, sample.hq, rng))
        weights = objective.weights.at(taken.places, taken.before, len(objective.plan.times))
        record = StepRecord(clean=taken.clean, hq=taken.hq, image=lambda: image, hq_image=sample.hq, t=taken.t)
        further, values = weighted_sum(self.terms, record)
        loss = (weights.to(distances) * distances).mean() + further
        scalars = {"distillation": float(distances.mean().detach())} | {k: float(v) for k, v in values.items()}
        if self.critic is None:
            return Outcome(loss=loss, scalars=scalars)
        assert sample.lq is not None
        judged = Judged(fake={"image": image}, real={"image": sample.hq, "lq": sample.lq})
        if progress >= objective.critics_from:
            opinion = self.critic.opinion(judged, rng)
            loss = loss + objective.adversarial * opinion
            scalars["adversarial"] = float(opinion.detach())
        return Outcome(loss=loss, scalars=scalars, judged=judged)

    def take_step(self, sample: Sample, rng: torch.Generator) -> Taken:
        """Take one step of the plan with gradients; a later one after the one before it, or in a rollout after all."""
        restorer, objective, times = self.restorer, self.objective, torch.tensor(self.objective.plan.times)
        seen, hq, noise = self.observe(sample, rng)
        source, places, before = hq, [0] * len(hq), None
        if len(times) > 1 and float(torch.rand((), generator=rng)) > objective.alone:
            before = torch.randint(len(times) - 1, (1 if objective.rollout else len(hq),), generator=rng).tolist()
            if objective.rollout:
                before = before * len(hq)
                source, seen = self._rolled_out(seen, noise, objective.plan.times[: before[0] + 1], rng)
                noise = torch.randn(hq.shape, generator=rng).to(hq)
            else:
                _, seen = self._looked_back(seen, restorer.schedule.noisy(hq, noise, times[before]), times[before])
            places = [place + 1 for place in before]
        t = times[places]
        clean = restorer.denoise(restorer.schedule.noisy(source, noise, t), t, seen, objective.plan.guidance)
        return Taken(places=places, before=before, t=t, hq=hq, noise=noise, seen=seen, clean=clean)

    def _rolled_out(
        self, seen: Seen, noise: Latent, times: tuple[int, ...], rng: torch.Generator
    ) -> tuple[Latent, Seen]:
        """Return what restoring finds after these times of the plan, and what it sees of the photo then."""
        source = seen.latent
        for t in times:
            source, seen = self._looked_back(seen, self.restorer.schedule.noisy(source, noise, t), t)
            noise = torch.randn(source.shape, generator=rng).to(source)
        return source, seen

    def observe(self, sample: Sample, rng: torch.Generator) -> tuple[Seen, Latent, Latent]:
        """Return what is seen of LQ, the HQ latents, and noise for them; each latent is a posterior sample."""
        noise, prior = CanvasNoise.from_generator(rng, photos=len(sample.hq)), self.restorer.prior
        photograph = photograph_of(self.restorer, sample)
        seen = self.restorer.observe(photograph, self.objective.prompt, noise)
        drawn = partial(
            noise.at, step=0, region=latent_region(photograph.region, prior.factor), channels=prior.channels
        )
        with torch.no_grad():
            hq = prior.encode(sample.hq, drawn("hq posterior").to(seen.latent))
        return seen, hq, drawn("start").to(hq)

    @torch.no_grad()
    def taught(self, taken: Taken, hq: Image, rng: torch.Generator) -> tuple[list[Image], list[Tensor]]:
        """Return the teacher's pictures of the student's estimate, noised with the noise it had, and their weights."""
        teacher, schedule = self.teacher, self.restorer.schedule
        told = teacher.refresh(taken.seen, lambda region: hq[region.slices])
        pictures, weights = [], []
        for _ in range(self.objective.draws):
            t = torch.randint(schedule.steps, (len(hq),), generator=rng)
            noisy = schedule.noisy(taken.clean.detach(), taken.noise, t)
            pictures.append(teacher.prior.decode(teacher.denoise(noisy, t, told)).clamp(0, 1))
            weights.append(teacher_weight(schedule, t).to(hq.device))
        return pictures, weights

    @torch.no_grad()
    def _looked_back(self, seen: Seen, noisy: Latent, t: int | Time) -> tuple[Latent, Seen]:
        """A step without gradients: what it finds, and what the next one sees: its picture mixed with the photo."""
        found = self.restorer.denoise(noisy, t, seen, self.objective.plan.guidance)
        decoded, lq = self.restorer.decode(found, seen.photograph), seen.photograph.enlarged().to(found.device)
        mixture = self.objective.looked_back.blend(decoded, lq)
        with torch.enable_grad():
            return found, self.restorer.refresh(seen, lambda region: mixture[region.slices])

    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Image]:
        few = first(sample, PREVIEWS)
        enlarged = photograph_of(self.restorer, few).enlarged()
        return {
            "bicubic": enlarged,
            "one step": self._restored(few, rng, steps=1),
            "restored": self._restored(few, rng),
            "photo": few.hq,
        }

    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        """Return how near the plan comes, and how near its first step does."""
        alone = nearness(self._restored(sample, rng, steps=1), sample.hq)
        return nearness(self._restored(sample, rng), sample.hq) | {f"{name}_1": value for name, value in alone.items()}

    def _restored(self, sample: Sample, rng: torch.Generator, steps: int | None = None) -> Image:
        noise, plan = CanvasNoise.from_generator(rng, photos=len(sample.hq)), self.objective.plan
        plan = replace(plan, times=plan.times[:steps])
        last = restore(self.restorer, photograph_of(self.restorer, sample), plan, noise)
        return self.restorer.decode(last.clean, last.seen.photograph).clamp(0, 1)
