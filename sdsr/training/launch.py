"""From a recipe's name and some paths to a training run."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file

import sdsr
from sdsr.data.batches import Sampling
from sdsr.data.photos import PairSet, PhotoSet, open_pairs, open_photos
from sdsr.errors import InputError, ModelError
from sdsr.methods import RECIPES
from sdsr.methods.recipe import Recipe, Stage, with_settings
from sdsr.objectives.learner import Learner
from sdsr.training.run import RunSettings
from sdsr.training.samples import CACHE_BYTES, make_source, validation_samples
from sdsr.training.trainer import train

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSettings:
    """What a run reads, and what it changes in its recipe."""

    data: tuple[Path, ...]
    lq: Path | None = None
    validation: tuple[Path, ...] = ()
    stage: str | None = None
    prior: str | None = None
    start_from: Path | None = None
    changes: Mapping[str, str] = field(default_factory=dict)
    precision: str = "auto"
    validation_photos: int = 48
    validation_px: int = 256
    threads: int | None = None


def launch(recipe_name: str, settings: LaunchSettings, run: RunSettings) -> Path:
    """Train one stage of a recipe; return the folder of its trained parts."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(run.seed)
    recipe = find_recipe(recipe_name)
    stage = with_settings(recipe.stage(settings.stage), settings.changes)
    run = replace(run, steps=run.steps or stage.steps)
    photos = _photos(settings)
    sampling = Sampling(
        size_px=stage.crop_px, batch_size=stage.batch, seed=run.seed, rank=_rank(), world_size=_world_size()
    )
    prior = settings.prior or recipe.prior
    system = stage.system(prior)
    learner = stage.objective.learner(system, stage.critic(system) if stage.critic else None)
    if settings.start_from is not None:
        load_parts(learner, settings.start_from)
    validation = []
    if settings.validation:
        validation = validation_samples(
            open_photos(settings.validation), stage, crop_px=settings.validation_px, limit=settings.validation_photos
        )
    return train(
        learner,
        stage,
        make_source(photos, stage, sampling),
        validation,
        run,
        metadata=_metadata(recipe, stage, system, run, settings),
        mixed_precision=_precision(settings.precision),
        fresh=settings.start_from is None,
    )


def find_recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise InputError(f"recipe (={name}) must be one of {sorted(RECIPES)}; `sdsr methods` describes them.")
    return RECIPES[name]


def load_parts(learner: Learner, folder: Path) -> None:
    """Fill a learner's parts from the files of another run; raise ModelError where one is missing or doesn't fit."""
    for name, part in learner.parts.items():
        path = folder / f"{name}.safetensors"
        if not path.exists():
            raise ModelError(f"{path} does not exist; --from must name the parts folder of a run of this recipe.")
        try:
            part.load_state_dict(load_file(path))
        except RuntimeError as error:
            raise ModelError(
                f"{path} does not fit {name} ({str(error).splitlines()[0]}); use the same settings."
            ) from error


def _photos(settings: LaunchSettings) -> PhotoSet | PairSet:
    if settings.lq is not None:
        return open_pairs(settings.lq, list(settings.data), cache_bytes=CACHE_BYTES)
    return open_photos(settings.data, cache_bytes=CACHE_BYTES)


def _metadata(
    recipe: Recipe, stage: Stage, system: object, run: RunSettings, settings: LaunchSettings
) -> dict[str, object]:
    return {
        "format": "sdsr-parts",
        "version": sdsr.__version__,
        "recipe": recipe.name,
        "stage": repr(stage),
        "prior": settings.prior or recipe.prior,
        "prior_sha256": getattr(system, "prior_sha256", ""),
        "steps": run.steps,
        "minutes": run.minutes,
        "seed": run.seed,
    }


def _precision(asked: str) -> str:
    if asked != "auto":
        return asked
    from sdsr.prior.loading import choose_device, choose_dtype

    return "bf16" if choose_dtype(choose_device()) == torch.bfloat16 else "no"


def _rank() -> int:
    from accelerate import PartialState

    return PartialState().process_index


def _world_size() -> int:
    from accelerate import PartialState

    return PartialState().num_processes
