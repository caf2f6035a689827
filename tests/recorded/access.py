"""All that the records ask of the package, and the only file here that imports it: after a move, mend this one.

Recipes, stages, formats and parts go by their published names, which no move changes; numbers and arrays come back.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import save_file
from torch import Tensor, nn

from sdsr.digests import combined_sha256, file_sha256
from sdsr.losses.small_perceptual import EMBEDDED as PERCEPTUAL
from sdsr.method_folders import ASSETS, embedded_methods
from sdsr.methods import METHODS
from sdsr.methods.published import PUBLISHED
from sdsr.methods.recipe import Stage
from sdsr.methods.settings import with_settings
from sdsr.objectives.training_step import Calibrated, TrainingStep
from sdsr.photos.photo import Photo
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.studies.complexity import PHASES, complexity
from sdsr.training.recipes import RECIPES
from sdsr.training.run import RunSettings
from sdsr.training.state import RunState
from sdsr.upscaling import Request, Upscaler
from tests.methods import contract

FEW = 3
CURVE_STEPS = 20
STAND_INS = {"sd-2.1": "sd-2.1-base"}  # of one architecture; the former's is known only where its files are


def methods() -> list[str]:
    """What restores photos."""
    return sorted(METHODS)


def published_formats() -> list[str]:
    return sorted(PUBLISHED)


def embedded() -> list[str]:
    """The methods whose weights come with the package."""
    return sorted(embedded_methods())


def stages() -> list[str]:
    """Every stage of every recipe, "recipe/stage"."""
    return [f"{recipe.name}/{stage.name}" for recipe in RECIPES.values() for stage in recipe.stages]


def method_sha256(name: str) -> str:
    """One sha256 for all weight files of an embedded method and of its prior."""
    return _weights_sha256(embedded_methods()[name], ASSETS / "small-prior")


def curve_sha256() -> str:
    """That of the embedded weights by which some objectives compare; the priors of the curves are random."""
    return _weights_sha256(PERCEPTUAL.parent)


def _weights_sha256(*folders: Path) -> str:
    return combined_sha256(file_sha256(path) for folder in folders for path in folder.glob("*.safetensors"))


def restored(name: str, pixels: np.ndarray, *, seed: int) -> np.ndarray:
    """8-bit RGB pixels (H W 3), four times as large, by an embedded method in few steps, where it has that choice."""
    upscaler = Upscaler.from_pretrained(name, device="cpu")
    plan, own = upscaler.recipe.plan, None
    if plan is not None and upscaler.recipe.most_steps > 1 and len(plan.times) > FEW:
        own = FEW
    request = Request(scale=4, steps=own, seed=seed, label=False)
    return upscaler.upscale(Photo(pixels=pixels), request).pixels


def counted(name: str, *, prior: str | None, given_px: int, discriminators: bool = True) -> dict[str, Any]:
    """Parameters and MACs of a method as `sdsr complexity --json` has them, under names that stay as they are."""
    recipe = METHODS[name]
    prior = prior or STAND_INS.get(recipe.prior)
    if not discriminators:
        recipe = replace(recipe, stages=tuple(replace(stage, discriminator=None) for stage in recipe.stages))
    found = complexity(recipe, prior, given_px=given_px)
    parts = {
        part.name: {"parameters": part.parameters, "trained": part.trained, "added": part.added}
        | {phase: list(asdict(getattr(part, phase)).values()) for phase in PHASES}
        for part in found.parts
    }
    discriminators = [[each.parameters, each.trained] for each in found.discriminators]
    return {"steps": found.steps, "size_px": found.size_px, "parts": parts, "discriminators": discriminators}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A checkpoint as parts: our tensors by "part/name", and the file's names that went nowhere or were missed."""

    tensors: Mapping[str, Tensor]
    dropped: tuple[str, ...]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]


def converted(format_name: str, state: Mapping[str, Tensor]) -> Named:
    """What a published format's converter makes of these tensors."""
    found = PUBLISHED[format_name].convert(state)
    tensors = {f"{part}/{name}": tensor for part, held in found.parts.items() for name, tensor in held.items()}
    return Named(tensors=tensors, dropped=found.dropped, unknown=found.unknown, missing=found.missing)


def becomes(format_name: str) -> str:
    """The recipe of the folder that a published format becomes, and the parts that it keeps."""
    published = PUBLISHED[format_name]
    return " ".join((published.recipe, *sorted(published.parts)))


def curve(name: str, photo: Callable[[int], Tensor], steps: int = CURVE_STEPS) -> dict[str, list[float]]:
    """The first losses of a run of 20 steps of a stage on the tiny prior, as the trainer makes them.

    `photo(index)` is the picture (1, 3, 96, 128) that the crops of a step are cut from. "loss" is the stage's; where
    discriminators look at what it makes, "discriminator" are theirs, all that they report added up.
    """
    recipe, _, stage_name = name.partition("/")
    stage = RECIPES[recipe].stage(stage_name)
    changes = {"optimizer.warmup_steps": "1", "accumulate": "1"}
    if stage.discriminator_optimizer is not None:
        changes["discriminator_optimizer.warmup_steps"] = "1"
    stage = with_settings(stage, changes)
    losses: dict[str, list[float]] = {"loss": []}
    with _alone(), TemporaryDirectory() as folder:
        training_step, discriminator = _training_step(name, stage, Path(folder))
        settings = RunSettings(folder=Path(folder) / "run", steps=CURVE_STEPS)
        samples = (contract.fixed_sample(photo(index), stage) for index in range(steps))
        first = [contract.fixed_sample(photo(CURVE_STEPS), stage)]
        if isinstance(training_step, Calibrated):
            training_step.prepare(first)
        run = RunState(training_step, stage, settings, Accelerator(cpu=True), {}, first)
        for _ in range(steps):
            scalars = run.step(samples)
            run.clock.step += 1
            losses["loss"].append(scalars["loss"])
            if discriminator is not None:
                told = (value for key, value in scalars.items() if key.startswith("discriminator/"))
                losses.setdefault("discriminator", []).append(sum(told))
    return losses


@contextmanager
def _alone() -> Iterator[None]:
    """Leave the process's random state and accelerate's as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            yield
        finally:
            AcceleratorState._reset_state(reset_partial_state=True)
            GradientState._reset_state()


def _training_step(name: str, stage: Stage, folder: Path) -> tuple[TrainingStep, nn.Module | None]:
    """What a stage trains on the tiny prior, and its discriminator; what is no method's is built as it is."""
    if RECIPES[name.partition("/")[0]].method is not None:
        return contract.training(stage)
    if name in OWN_PRIORS:
        return stage.objective.training_step(stage.build(OWN_PRIORS[name](folder), "cpu"), None), None
    return stage.objective.training_step(stage.build(contract.PRIOR, "cpu"), None), None


def _autoencoder(folder: Path) -> str:
    """A folder with an untrained autoencoder."""
    save_file(SmallAutoencoder().state_dict(), folder / "autoencoder.safetensors")
    return str(folder)


OWN_PRIORS = {
    "small-autoencoder/decoder": _autoencoder,
    "small-prior/noise-matching": _autoencoder,
}
"""Stages that begin from the files of another."""
