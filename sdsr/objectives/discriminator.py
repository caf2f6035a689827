"""The adversarial game: a network that tells real from fake, what it sees of a step, and both sides' losses."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Generator, Tensor, nn

from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.losses.adversarial import AdversarialLoss
from sdsr.losses.terms import StepRecord
from sdsr.objectives.training_step import Outcome
from sdsr.tensors import Tokens

Kind = Literal["latent", "image"]
Shown = tuple[object, ...]
"""What a discriminator's network is called with."""


class View(Protocol):
    """How a discriminator looks at a step: at its latents or its images, and in which form."""

    kind: ClassVar[Kind]

    def __call__(self, record: StepRecord, rng: Generator) -> tuple[Shown, Shown]:
        """Return what the network is shown of the real side, and of the fake one."""
        ...


@dataclass(frozen=True, slots=True)
class NoisyLatents:
    """Latents with noise, as a diffusion UNet knows them (D3SR, arXiv:2410.04224, Eq. 7-8).

    Real and fake are noised alike, so that only what is under the noise tells them apart.
    """

    kind: ClassVar[Kind] = "latent"
    schedule: NoiseSchedule

    def __call__(self, record: StepRecord, rng: Generator) -> tuple[Shown, Shown]:
        t = torch.randint(self.schedule.steps, (len(record.clean),), generator=rng)
        noise = torch.randn(record.clean.shape, generator=rng).to(record.clean)
        times = t.to(record.clean.device)
        real, fake = (self.schedule.noisy(side, noise, t) for side in (record.hq, record.clean))
        return (real, times), (fake, times)


@dataclass(frozen=True, slots=True)
class CleanLatents:
    """Latents as they are, with the time that they were estimated at and the prompt (InvSR, arXiv:2412.09013).

    `context`: the prompt's tokens, (1, tokens, width). Fakes are clamped to `fake_limit`, and only they are, as in the
    published trainer: an estimate from much noise may be far out, and would decide the game by its size alone.
    """

    kind: ClassVar[Kind] = "latent"
    context: Tokens
    fake_limit: float

    def __call__(self, record: StepRecord, rng: Generator) -> tuple[Shown, Shown]:
        assert record.t is not None, "this view asks at which times the latents were made"
        told = record.t.to(record.clean.device), self.context.to(record.clean.device).expand(len(record.clean), -1, -1)
        return (record.hq, *told), (record.clean.clamp(-self.fake_limit, self.fake_limit), *told)


@dataclass(frozen=True, slots=True)
class Pixels:
    """Images as they are, or the part of them that the step says.

    `real`: which are called real, HQ photos or what a teacher of pixels makes of the same LQ ones. Nobody can tell an
    HQ photo's fine texture from its LQ one, so a generator that is held to it feigns some; the teacher's can be told.
    """

    kind: ClassVar[Kind] = "image"
    real: Literal["hq", "teacher"] = "hq"

    def __call__(self, record: StepRecord, rng: Generator) -> tuple[Shown, Shown]:
        record = record.in_window()
        fake, real = record.images()
        if self.real == "teacher":
            assert record.teacher_image is not None, "this objective records no teacher's picture"
            real = record.teacher_image
        return (real,), (fake,)


@dataclass(frozen=True, slots=True)
class PixelsBesideLq:
    """Images beside the LQ one, for a network that makes tokens of both and draws its own augmentation (AddSR)."""

    kind: ClassVar[Kind] = "image"

    def __call__(self, record: StepRecord, rng: Generator) -> tuple[Shown, Shown]:
        assert record.lq is not None, "this view shows the LQ image, which the objective doesn't record"
        fake, real = record.images()
        return (real, record.lq, rng), (fake, record.lq, rng)


class Adversary(nn.Module, ABC):
    """What learns beside a generator and gives it losses; its forward is its own training step, on a detached record.

    A discriminator is one. Another is a diffusion model that follows what the generator makes (score distillation).
    """

    @property
    @abstractmethod
    def kinds(self) -> Sequence[Kind]:
        """What it looks at."""

    @abstractmethod
    def forward(self, record: StepRecord, rng: Generator) -> Outcome:
        """Return its own loss on a detached step."""

    @abstractmethod
    def generator_losses(self, record: StepRecord, rng: Generator) -> dict[str, Tensor]:
        """Return the generator's losses by name: gradients reach what it made, and no weight of the adversary."""


class Discriminator(Adversary):
    """A network whose logits are high for real and low for fake; its forward is its own training step.

    `precision` is the context that the network computes in.
    """

    def __init__(
        self,
        network: nn.Module,
        view: View,
        loss: AdversarialLoss,
        *,
        precision: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        super().__init__()
        self.network = network
        self.view = view
        self.loss = loss
        self.precision = precision

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What it looks at."""
        return (self.view.kind,)

    def forward(self, record: StepRecord, rng: Generator) -> Outcome:
        """Return the discriminator's own loss on a detached step."""
        real, fake = (self._logits(shown) for shown in self.view(record, rng))
        loss = self.loss.discriminator(real, fake)
        return Outcome(loss=loss, scalars={self.view.kind: loss.detach()})

    def generator_losses(self, record: StepRecord, rng: Generator) -> dict[str, Tensor]:
        """Return the generator's loss by what is looked at: gradients reach the fake, and no weight of this network."""
        _, fake = self.view(record, rng)
        with without_gradients(self):
            return {self.view.kind: self.loss.generator(self._logits(fake))}

    def _logits(self, shown: Shown) -> list[Tensor]:
        with self.precision():
            return self.network(*shown)


class Discriminators(Adversary):
    """Several discriminators that play at once, each named by what it looks at."""

    def __init__(self, *discriminators: Discriminator) -> None:
        super().__init__()
        for each in discriminators:
            assert each.view.kind not in self._modules, f"two discriminators look at the {each.view.kind}"
            self.add_module(each.view.kind, each)
        self.each = tuple(discriminators)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What they look at."""
        return tuple(each.view.kind for each in self.each)

    def forward(self, record: StepRecord, rng: Generator) -> Outcome:
        """Return the sum of the discriminators' own losses on a detached step."""
        outcomes = [each(record, rng) for each in self.each]
        scalars = {name: value for outcome in outcomes for name, value in outcome.scalars.items()}
        return Outcome(loss=torch.stack([outcome.loss for outcome in outcomes]).sum(), scalars=scalars)

    def generator_losses(self, record: StepRecord, rng: Generator) -> dict[str, Tensor]:
        """Return the generator's losses by what is looked at."""
        return {kind: loss for each in self.each for kind, loss in each.generator_losses(record, rng).items()}


class InTurn(Adversary):
    """Several discriminators of the same view, of which each step hears the one whose turn it is."""

    def __init__(self, *discriminators: Discriminator) -> None:
        super().__init__()
        for index, each in enumerate(discriminators):
            self.add_module(str(index), each)
        self.each = tuple(discriminators)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What they look at."""
        return self.each[0].kinds

    def forward(self, record: StepRecord, rng: Generator) -> Outcome:
        """Return that discriminator's own loss on a detached step."""
        return self.each[record.turn](record, rng)

    def generator_losses(self, record: StepRecord, rng: Generator) -> dict[str, Tensor]:
        """Return the generator's loss by what is looked at."""
        return self.each[record.turn].generator_losses(record, rng)


@contextmanager
def without_gradients(module: nn.Module) -> Iterator[None]:
    """While it lasts, what learns in a module gets no gradients."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
