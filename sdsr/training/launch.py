"""From a recipe's name and some paths to a training run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from accelerate import PartialState
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

import sdsr
from sdsr.checkpoints.weights import METHOD, described_part
from sdsr.data.batches import Sampling
from sdsr.data.photos import PairSet, PhotoSet, open_pairs, open_photos
from sdsr.data.taught import TaughtPairs, open_taught
from sdsr.errors import InputError, ModelError, look_up
from sdsr.method_folders import DESCRIPTION, read_description
from sdsr.methods.limits import COUNT, PIXELS, Limit, check_number, check_numbers
from sdsr.methods.method import OnPrior
from sdsr.methods.recipe import Recipe, Stage
from sdsr.methods.settings import with_settings
from sdsr.methods.trained import left_out
from sdsr.objectives.restoration import Restoration
from sdsr.objectives.training_step import TrainingStep
from sdsr.prior.loading import choose_dtype
from sdsr.prior.prior import Prior
from sdsr.prior.weight_files import read_tensors
from sdsr.restoration.restorer import Restorer
from sdsr.training.configuration import canonical_leaves, canonical_toml
from sdsr.training.recipes import RECIPES
from sdsr.training.run import SETTINGS, RunSettings
from sdsr.training.samples import CACHE_BYTES, make_source, validation_samples
from sdsr.training.trainer import train

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSettings:
    """What a run reads, and what it changes in its recipe."""

    data: tuple[Path, ...]
    lq: Path | None = None
    pairs: tuple[Path, ...] = ()
    validation: tuple[Path, ...] = ()
    stage: str | None = None
    prior: str | None = None
    init_from: tuple[Path, ...] = ()
    strict: bool = True
    changes: Mapping[str, object] = field(default_factory=dict)
    precision: str = "auto"
    validation_photos: int = 48
    validation_px: int = 256
    threads: int | None = None

    def __post_init__(self) -> None:
        check_number("validation_photos", self.validation_photos, COUNT)
        check_number("validation_px", self.validation_px, PIXELS)
        if self.threads is not None:
            check_number("threads", self.threads, Limit(least=1, most=1024))


def launch(recipe: Recipe | str, settings: LaunchSettings, run: RunSettings) -> Path:
    """Train one stage of a recipe, given or named; return the folder of its trained parts."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(run.seed)
    recipe = find_recipe(recipe) if isinstance(recipe, str) else recipe
    stage = with_settings(recipe.stage(settings.stage), settings.changes)
    check_numbers(stage)
    run = replace(run, steps=run.steps or stage.steps)
    photos = _photos(settings, stage)
    process = PartialState(cpu=not torch.accelerator.is_available())  # or processes on CPUs wouldn't know of each other
    assert process.device is not None, "accelerate chooses a device"
    dtype = precision_of(settings.precision, process.device)
    model = stage.build(settings.prior or recipe.prior, process.device)
    model = _prepared(model, dtype, checkpointing=run.gradient_checkpointing)
    discriminator = stage.discriminator(model) if stage.discriminator else None
    training_step = _begun(stage, model, discriminator, settings)
    validation = []
    if settings.validation:
        validation = validation_samples(
            open_photos(settings.validation), stage, crop_px=settings.validation_px, limit=settings.validation_photos
        )
    return train(
        training_step,
        stage,
        make_source(photos, stage, _sampling(stage, run, process)),
        validation,
        run,
        metadata=_metadata(recipe, stage, model, run, settings),
        mixed_precision="bf16" if dtype == torch.bfloat16 else "no",
        fresh=not settings.init_from,
    )


def _sampling(stage: Stage, run: RunSettings, process: PartialState) -> Sampling:
    """Return which crops this process trains on."""
    return Sampling(
        size_px=stage.crop_px,
        batch_size=stage.batch,
        horizontal_flip=stage.flips[0],
        vertical_flip=stage.flips[1],
        seed=run.seed,
        rank=process.process_index,
        world_size=process.num_processes,
    )


def _begun(stage: Stage, model: object, discriminator: nn.Module | None, settings: LaunchSettings) -> TrainingStep:
    """Return the training step of a model that begins with the parts that it was told to begin with."""
    if stage.init_from and not settings.init_from:
        log.warning("%s begins anew, though made to begin with parts of %s (--from)", stage.name, stage.init_from)
    if isinstance(model, Restorer):  # before there is a training step, whose teacher begins as its student
        load_parts(dict(model.parts.modules.items()), settings.init_from, strict=settings.strict)
    training_step = stage.objective.training_step(model, discriminator)
    if not isinstance(model, Restorer):
        load_parts(training_step.trainable_modules, settings.init_from, strict=settings.strict)
    return training_step


def find_recipe(name: str) -> Recipe:
    return look_up(dict(sorted(RECIPES.items())), name, "recipe", "; `sdsr models` describes them")


def find_stage(recipe: str, name: str | None, changes: Mapping[str, object]) -> Stage:
    """Return a stage of a named recipe with its settings changed."""
    return with_settings(find_recipe(recipe).stage(name), changes)


def load_parts(parts: Mapping[str, nn.Module], folders: Sequence[Path], *, strict: bool = True) -> None:
    """Fill parts from the files that other runs left, `NAME.safetensors`, or that were exported or converted.

    Where several have one, the last wins. Raise ModelError where a folder has none of the parts, or a file doesn't fit.
    Parts that no folder has stay fresh. Unless `strict`, a file may be of a similar network: tensors of the same name
    and shape are taken.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        files = {name: folder / f"{name}.safetensors" for name in parts}
        there = {name: path for name, path in files.items() if path.is_file()}
        if not there:
            raise ModelError(
                f"--from (={folder}) has none of {', '.join(path.name for path in files.values())}; "
                "name the parts folder of a run of this recipe."
            )
        found |= there
    for name, path in found.items():
        try:
            tensors = _tensors(path.parent, name, parts[name])
            if not strict:
                tensors = _fitting(tensors, parts[name], path)
            parts[name].load_state_dict(tensors, strict=strict)  # copied: an adapter may share these tensors
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()
            raise ModelError(f"{path} does not fit {name} ({reason}); use the same settings.") from error
    fresh = [name for name in parts if name not in found]
    if folders and fresh:
        log.warning("no --from folder has %s, so training begins them anew", ", ".join(fresh))


def _tensors(folder: Path, name: str, part: nn.Module) -> dict[str, torch.Tensor]:
    """A part's tensors; an exported one's may be the prior's, or in another folder."""
    if (folder / DESCRIPTION).is_file():
        return described_part(folder, name, part, read_description(folder))
    return read_tensors(folder / f"{name}.safetensors")


def _fitting(tensors: Mapping[str, torch.Tensor], part: nn.Module, path: Path) -> dict[str, torch.Tensor]:
    """Those tensors of a file that a part has, of the same shape."""
    own = part.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    log.info("%s fills %d of %d tensors; the others begin anew", path, len(fitting), len(own))
    return fitting


def precision_of(asked: str, device: torch.device) -> torch.dtype:
    """Return what a run computes in: "bf16", "no" (float32), or "auto", what suits the device."""
    known = {"bf16": torch.bfloat16, "no": torch.float32, "auto": choose_dtype(device)}
    return look_up(known, asked, "precision", "; float16 overflows in decoders")


def _prepared(model: object, dtype: torch.dtype, *, checkpointing: bool) -> object:
    """Return what is trained, computing in `dtype`; if asked, its networks forget activations until backward."""
    if isinstance(model, Prior):
        model = model.adapted(dtype=dtype)
    elif isinstance(model, OnPrior):
        model = replace(model, prior=model.prior.adapted(dtype=dtype))  # pyright: ignore[reportArgumentType]
    if not checkpointing:
        return model
    if not isinstance(model, Restorer | Prior):
        raise InputError("--gradient-checkpointing needs a UNet, which this stage does not train; leave it out.")
    prior = model.prior if isinstance(model, Restorer) else model
    added = model.parts.modules.modules() if isinstance(model, Restorer) else ()
    for network in (prior.network, *added):
        if isinstance(network, ModelMixin) and network._supports_gradient_checkpointing:
            network.enable_gradient_checkpointing()
    return model


def _photos(settings: LaunchSettings, stage: Stage) -> PhotoSet | PairSet | TaughtPairs:
    if stage.taught != bool(settings.pairs):
        raise InputError(
            f"stage {stage.name} learns from a teacher; give --pairs FOLDER, made by `sdsr teach`."
            if stage.taught
            else f"--pairs (={settings.pairs[0]}) mean nothing to stage {stage.name}; leave them out."
        )
    if settings.pairs:
        return open_taught(settings.pairs)
    if settings.lq is not None:
        return open_pairs(settings.lq, list(settings.data), cache_bytes=CACHE_BYTES)
    return open_photos(settings.data, cache_bytes=CACHE_BYTES)


def _metadata(
    recipe: Recipe, stage: Stage, model: object, run: RunSettings, settings: LaunchSettings
) -> dict[str, object]:
    changed = {name.removeprefix("method."): v for name, v in settings.changes.items() if name.startswith("method.")}
    method = {**left_out(stage.method, recipe.method), **changed}
    trained_at = {"times": list(stage.objective.plan.times)} if isinstance(stage.objective, Restoration) else {}
    return {
        "format": "sdsr-parts",
        "version": sdsr.__version__,
        "recipe": recipe.name,
        "stage": canonical_toml(stage),
        SETTINGS: canonical_leaves(stage),
        **({METHOD: method} if method else {}),
        "prior": settings.prior or recipe.prior,
        "prior_sha256": model.prior.sha256 if isinstance(model, OnPrior) else "",
        "steps": run.steps,
        "minutes": run.minutes,
        "seed": run.seed,
        **trained_at,
    }
