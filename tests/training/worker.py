"""Training runs in processes of their own, for the tests of signals and of several processes.

`worker.py alone RUN DATA STEPS` trains d3sr-small's first stage on the tiny prior, as `sdsr train` does. `worker.py
together RUN DATA` trains it for a few steps in as many processes as the environment says, then an autoencoder that
prepares itself, a restorer with discriminators, and a training step with parameters that are frozen or that few steps
use, and writes each process's parameters to RUN/NAME-RANK.pt; then the latter two once more in shards, with a stop on
the way.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdsr.data.batches import Batch, Sampling
from sdsr.data.photos import open_photos
from sdsr.methods.recipe import Stage
from sdsr.objectives.training_step import Outcome, Sample, TrainingStep
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.training.launch import LaunchSettings, launch
from sdsr.training.recipes import RECIPES
from sdsr.training.run import RunSettings
from sdsr.training.samples import make_source, to_sample
from sdsr.training.trainer import leave_others, train

CHANGES = {"batch": "2", "crop_px": "64", "ema_decay": "0.9", "optimizer.decay_from": "1.0"}


def alone(folder: Path, data: Path, steps: int) -> None:
    settings = LaunchSettings(data=(data,), stage="fidelity", prior="tiny", changes=CHANGES, precision="no")
    launch("d3sr-small", settings, RunSettings(folder=folder, steps=steps, save_every_s=0.2))


def together(folder: Path, data: Path) -> None:
    from accelerate import PartialState

    rank = PartialState(cpu=True).process_index
    launched(folder / "two", data, 2)
    photo = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    validation = [to_sample(Batch(hq=photo, seeds=(0,), keys=()), "photo")]
    patchy = replace(_autoencoder_stage(), objective=PatchyObjective())
    stages = {"autoencoder": _autoencoder_stage(), "discriminators": _adversarial_stage(), "patchy": patchy}
    for name, stage in stages.items():
        shown = validation if name == "discriminators" else []
        settings = RunSettings(folder=folder / name, steps=4, save_every_s=0.0, validate_every=4)
        training_step = _trained(stage, data, settings, shown)
        modules = {**training_step.trainable_modules} | (
            {} if training_step.discriminator is None else {"discriminator": training_step.discriminator}
        )
        states = {f"{key}.{k}": v for key, module in modules.items() for k, v in module.named_parameters()}
        torch.save(states, folder / f"{name}-{rank}.pt")
        if name != "autoencoder":
            for steps in (2, 4):
                in_shards = replace(settings, folder=folder / f"{name}-shards", steps=steps, shard=True)
                _trained(stage, data, in_shards, shown)


def launched(folder: Path, data: Path, batch: int) -> None:
    """Train d3sr-small's first stage on the tiny prior for a few steps, with so many crops for each process."""
    changes = CHANGES | {"batch": str(batch)}
    settings = LaunchSettings(data=(data,), stage="fidelity", prior="tiny", changes=changes, precision="no")
    launch("d3sr-small", settings, RunSettings(folder=folder, steps=3))


def _trained(stage: Stage, data: Path, settings: RunSettings, validation: Sequence[Sample] = ()) -> TrainingStep:
    """The stage, after its run; processes begin with different weights, as nothing may depend on them."""
    from accelerate import PartialState

    world = PartialState(cpu=True)
    torch.manual_seed(world.process_index)
    model = stage.build("tiny")
    training_step = stage.objective.training_step(
        model, None if stage.discriminator is None else stage.discriminator(model)
    )
    sampling = Sampling(size_px=64, batch_size=stage.batch, rank=world.process_index, world_size=world.num_processes)
    train(training_step, stage, make_source(open_photos(data), stage, sampling), validation, settings, metadata={})
    return training_step


class Patchy(nn.Module):
    """Fits the mean color: one layer is frozen, one no step uses, one only the second process does, now and then."""

    discriminator: None = None

    def __init__(self) -> None:
        super().__init__()
        layers = {name: nn.Linear(3, 3) for name in ("always", "frozen", "never", "sometimes")}
        self.layers = nn.ModuleDict(layers)
        self.layers["frozen"].requires_grad_(False)
        self.calls = 0

    @property
    def trainable_modules(self) -> dict[str, nn.Module]:
        return {"layers": self.layers}

    def forward(self, sample: Sample, rng: torch.Generator, progress: float) -> Outcome:
        from accelerate import PartialState

        self.calls += 1
        mean = sample.hq.mean((2, 3))
        guess = self.layers["frozen"](self.layers["always"](mean))
        if PartialState().process_index == 1 and self.calls % 2:
            guess = guess + self.layers["sometimes"](mean)
        return Outcome(loss=(guess - mean).square().mean())


class PatchyObjective:
    """Builds the patchy training step, whatever the model."""

    def training_step(self, model: object, discriminator: None) -> Patchy:
        return Patchy()


@dataclass(frozen=True, slots=True, kw_only=True)
class LightAutoencoder:
    """An autoencoder of a few channels, on no prior."""

    def build(self, prior: Any, device: Any = None) -> SmallAutoencoder:
        return SmallAutoencoder(4, (8, 8, 8), (1, 1, 1))


def _autoencoder_stage() -> Stage:
    stage = RECIPES["small-autoencoder"].stages[0]
    return replace(stage, method=LightAutoencoder(), batch=2, crop_px=64)


def _adversarial_stage() -> Stage:
    stage = RECIPES["d3sr-small"].stage("realism")
    return replace(stage, batch=1, crop_px=64, accumulate=2, objective=replace(stage.objective, ea_dists=0.0))


if __name__ == "__main__":
    torch.set_num_threads(1)
    task, folder, data = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if task == "alone":
        alone(folder, data, int(sys.argv[4]))
    else:
        together(folder, data)
    leave_others()
