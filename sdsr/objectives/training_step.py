"""What a training step is to the trainer: a module whose forward gives a loss, and names what it trains."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sdsr.data.degradation import LowImage
from sdsr.losses.terms import StepRecord
from sdsr.tensors import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One batch as an objective sees it: HQ crops, their degraded LQ at 1/scale where the stage has a degradation.

    `teacher`: what a teacher makes of that LQ, where the stage has one. `numbers` tell the pairs of a training apart;
    validation has none.
    """

    hq: Image
    lq: LowImage | None = None
    teacher: Image | None = None
    numbers: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The loss of one step with gradients, its terms, and the step where a discriminator looks at it.

    Terms stay where they were computed until `numbers` reads them: each reading waits for the card.
    """

    loss: Tensor
    scalars: Mapping[str, Tensor | float] = field(default_factory=dict)
    record: StepRecord | None = None


def numbers(scalars: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Return scalars as numbers, read from their device at once."""
    there = {name: value for name, value in scalars.items() if isinstance(value, Tensor)}
    read = torch.stack([value.detach().float().reshape(()) for value in there.values()]).tolist() if there else []
    return dict(scalars) | dict(zip(there, read, strict=True))  # pyright: ignore[reportReturnType]  (none is left a tensor)


class TrainingStep(Protocol):
    """An `nn.Module` that computes a training step in its forward, so that it runs under DDP as it is.

    `trainable_modules` are named by the name of the file that they are saved in. `discriminator` is None or a module
    whose forward takes a detached `StepRecord` and a generator and gives an `Outcome`; it has an optimizer of its own.
    """

    @property
    def trainable_modules(self) -> dict[str, nn.Module]: ...

    @property
    def discriminator(self) -> nn.Module | None: ...

    def __call__(self, sample: Sample, rng: torch.Generator, progress: float) -> Outcome: ...

    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Image]:
        """Return columns of a validation sheet, by their titles."""
        ...

    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        """Return validation figures of one batch, means over it."""
        ...


@runtime_checkable
class Calibrated(Protocol):
    """A training step that looks at some training samples before and after training, too; most don't."""

    def prepare(self, samples: list[Sample]) -> None:
        """Begin from some training samples; called once, before the first step of a fresh run."""
        ...

    def finish(self, samples: list[Sample]) -> None:
        """Settle what is measured after training (statistics of latents) on some training samples.

        Called with the averaged weights, at every export.
        """
        ...


@runtime_checkable
class Reusing(Protocol):
    """An objective whose steps train on some batches several times; most take each once."""

    def batch_of(self, step: int, seed: int) -> int:
        """Return the number of the batch that a step trains on: a function of both, so that runs can be resumed."""
        ...
