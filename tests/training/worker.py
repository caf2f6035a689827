"""Training runs in processes of their own, for the tests of signals and of several processes.

`worker.py alone RUN DATA STEPS` trains d3sr-small's first stage on the tiny prior, as `sdsr train` does.
`worker.py together RUN DATA` trains an autoencoder that prepares itself, then a restorer with critics, in as many
processes as the environment says, and writes each process's parameters to RUN/NAME-RANK.pt.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from sdsr.data.batches import Sampling
from sdsr.data.photos import open_photos
from sdsr.methods import RECIPES
from sdsr.methods.recipe import Stage
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.training.launch import LaunchSettings, launch
from sdsr.training.run import RunSettings
from sdsr.training.samples import make_source
from sdsr.training.trainer import train

CHANGES = {"batch": "2", "crop_px": "64", "ema_decay": "0.9", "optimizer.decay_from": "1.0"}


def alone(folder: Path, data: Path, steps: int) -> None:
    settings = LaunchSettings(data=(data,), stage="fidelity", prior="tiny", changes=CHANGES, precision="no")
    launch("d3sr-small", settings, RunSettings(folder=folder, steps=steps, save_every_s=0.2))


def together(folder: Path, data: Path) -> None:
    from accelerate import PartialState

    world = PartialState(cpu=True)
    for name, stage in (("autoencoder", _autoencoder_stage()), ("critics", _critics_stage())):
        torch.manual_seed(world.process_index)  # ranks begin with different weights, as nothing may depend on them
        system = stage.system("tiny")
        critic = None if stage.critic is None else stage.critic(system)
        learner = stage.objective.learner(system, critic)
        sampling = Sampling(
            size_px=64, batch_size=stage.batch, rank=world.process_index, world_size=world.num_processes
        )
        source = make_source(open_photos(data), stage, sampling)
        settings = RunSettings(folder=folder / name, steps=4, save_every_s=0.0)
        train(learner, stage, source, [], settings, metadata={})
        modules = {**learner.parts} | ({} if critic is None else {"critic": critic})
        states = {f"{key}.{k}": v for key, module in modules.items() for k, v in module.named_parameters()}
        torch.save(states, folder / f"{name}-{world.process_index}.pt")


def _autoencoder_stage() -> Stage:
    stage = RECIPES["small-autoencoder"].stages[0]
    return replace(stage, system=lambda _: SmallAutoencoder(4, (8, 8, 8), (1, 1, 1)), batch=2, crop_px=64)


def _critics_stage() -> Stage:
    stage = RECIPES["d3sr-small"].stage("realism")
    return replace(stage, batch=1, crop_px=64, accumulate=2, objective=replace(stage.objective, ea_dists=0.0))


if __name__ == "__main__":
    torch.set_num_threads(1)
    task, folder, data = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if task == "alone":
        alone(folder, data, int(sys.argv[4]))
    else:
        together(folder, data)
