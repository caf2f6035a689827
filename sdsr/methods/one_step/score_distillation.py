"""OSEDiff's training: the HQ photo's pixels, LPIPS, and variational score distillation (arXiv:2406.08177, Sec. 3.2).

Two diffusion models look at the restored latent under noise: the prior as it is, guided by text (the real score), and a
copy of it whose low-rank updates learn the distribution of what the generator makes (the fake score). Where their clean
estimates differ, the generator moves what it makes from the second to the first, towards what the prior knows
(arXiv:2305.16213). The copy is an adversary: it learns beside the generator, with an optimizer of its own.

Deviation: in the paper both scores are conditioned on tags of the HQ photo; a tagger's vocabulary comes with no file of
weights, so their prompt is empty. The fake score learns what its prior predicts, noise in the paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from sdsr.adapters.lora import Lora
from sdsr.adapters.sharing import share_weights
from sdsr.losses.lpips import load_lpips_or_small
from sdsr.losses.terms import StepRecord, Term, image_l2, perceptual
from sdsr.methods.one_step.generator import LORA, OSEDIFF
from sdsr.methods.prompts import SMALL_PROMPTS
from sdsr.objectives.discriminator import Adversary, Kind
from sdsr.objectives.restoration import InferenceStep
from sdsr.objectives.restorer_step import AdversarialWeights, RestorerStep
from sdsr.objectives.training_step import Outcome
from sdsr.prior.condition import Condition
from sdsr.prior.prior import Prior
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer
from sdsr.tensors import Latent, Time, Tokens

NEGATIVE = (
    "painting, oil painting, illustration, drawing, art, sketch, cartoon, CG Style, 3D render, unreal engine, "
    "blurring, dirty, messy, worst quality, low quality, frames, watermark, signature, jpeg artifacts, deformed, "
    "lowres, over-smooth"
)
"""As published, for priors that know all of language."""

SCORES = "scores"
_LEAST_DISTANCE = 1e-8  # where the real score finds nothing to change, the gradient is zero and not 0 / 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilledRestoration:
    """The plan whose step is trained, and the weights of squared error and LPIPS of pixels, and of the distillation.

    LPIPS has its published weights where `lpips_weights` names their file (of VGG-16), else the embedded small
    perceptual network stands in.
    """

    plan: Plan = OSEDIFF.own_plan
    l2: float = 1.0
    lpips: float = 2.0
    score_distillation: float = 1.0
    lpips_weights: str | None = None

    def training_step(self, restorer: Restorer, discriminator: nn.Module | None) -> RestorerStep:
        assert discriminator is None or isinstance(discriminator, DistilledScores), "`DistilledScores` distill"
        distance = load_lpips_or_small(self.lpips_weights, restorer.prior.device)
        return RestorerStep(
            InferenceStep(restorer=restorer, plan=self.plan),
            (
                Term(name="l2", weight=self.l2, function=image_l2),
                Term(name="lpips", weight=self.lpips, function=partial(perceptual, distance)),
            ),
            discriminator=discriminator,
            adversarial_weights=AdversarialWeights(weights={SCORES: self.score_distillation}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDistillation:
    """How the scores are made; the defaults are the published ones.

    `rank` and `alpha` are those of the fake score's updates. `guidance` is the scale of the real score's guidance,
    towards the positive prompt and away from the `negative` one. The generator's latents are noised to `times` (first,
    last + 1); the fake score learns at all times of the schedule.
    """

    rank: int = OSEDIFF.rank
    alpha: int = OSEDIFF.alpha
    guidance: float = 7.5
    negative: str = NEGATIVE
    times: tuple[int, int] = (20, 980)

    def __call__(self, restorer: Restorer) -> "DistilledScores":
        """Return the scores beside a generator, made of the same prior's stock network; its weights are shared."""
        prior = restorer.prior
        network = share_weights(prior.stock)
        updates = Lora(network, rank=self.rank, alpha=self.alpha, targets=OSEDIFF.targets)
        updates.attach(network)
        knows_language = prior.text.vocabulary is None
        return DistilledScores(
            self,
            real=prior.adapted(network=share_weights(prior.stock)),
            fake=prior.adapted(network=network),
            updates=updates.to(prior.device),
            prompts=("", self.negative) if knows_language else (SMALL_PROMPTS.positive, SMALL_PROMPTS.negative),
        )


class DistilledScores(Adversary):
    """A real and a fake score of latents; the fake one's updates are all that learns."""

    def __init__(
        self, settings: ScoreDistillation, *, real: Prior, fake: Prior, updates: Lora, prompts: tuple[str, str]
    ) -> None:
        super().__init__()
        positive, negative = prompts
        self.settings = settings
        self.real = real
        self.fake = fake
        self.positive = real.embed(positive)
        self.negative = real.embed(negative)
        self.add_module(LORA, updates)

    @property
    def kinds(self) -> Sequence[Kind]:
        return ("latent",)

    def forward(self, record: StepRecord, rng: Generator) -> Outcome:
        """Return the fake score's own loss: diffusion's usual one, on what the generator made."""
        schedule = self.fake.schedule
        clean = record.clean.detach()
        noisy, noise, t = _noised(self.fake, clean, (0, schedule.steps), rng)
        predicted = self.fake.predict(noisy, t, _condition(self.positive, clean))
        loss = F.mse_loss(predicted, schedule.target(clean, noise, t))
        return Outcome(loss=loss, scalars={"fake_score": loss.detach()})

    def generator_losses(self, record: StepRecord, rng: Generator) -> dict[str, Tensor]:
        """Return the loss whose gradient by the latent is the difference of both scores' clean estimates.

        Each latent's difference is divided by how far the real score's estimate is from it, so that no time outweighs
        the others. As the squared error to a target without gradients, it leaves the scores' networks alone.
        """
        clean = record.clean
        with torch.no_grad():
            noisy, _, t = _noised(self.real, clean, self.settings.times, rng)
            real = self._guided(noisy, t)
            fake = self.fake.denoise(noisy, t, _condition(self.positive, clean))
            distance = (clean - real).abs().mean(dim=(1, 2, 3), keepdim=True).clamp(min=_LEAST_DISTANCE)
            target = clean - (fake - real) / distance
        return {SCORES: F.mse_loss(clean, target)}

    def _guided(self, noisy: Latent, t: Time) -> Latent:
        """The real score's clean estimate, with classifier-free guidance (arXiv:2207.12598, Eq. 6)."""
        positive = self.real.denoise(noisy, t, _condition(self.positive, noisy))
        negative = self.real.denoise(noisy, t, _condition(self.negative, noisy))
        return negative + self.settings.guidance * (positive - negative)


def _noised(prior: Prior, clean: Latent, times: tuple[int, int], rng: Generator) -> tuple[Latent, Latent, Time]:
    """Return latents with noise, the noise, and when: a time of its own for each, from first to last + 1."""
    t = torch.randint(*times, (len(clean),), generator=rng)
    noise = torch.randn(clean.shape, generator=rng).to(clean)
    return prior.schedule.noisy(clean, noise, t), noise, t


def _condition(prompt: Tokens, batch: Tensor) -> Condition:
    return Condition(prompt=prompt.to(batch.device).expand(len(batch), -1, -1))
