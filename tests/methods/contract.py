"""What every method promises, by which the contract tests tell it apart from nothing: systems, samples, pictures."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sdsr.checkpoints.weights import fill_restorer
from sdsr.images.floats import quantize
from sdsr.methods import METHODS
from sdsr.methods.invsr.method import InvSR, PredictorSettings
from sdsr.methods.invsr.recipes import LatentDiscriminator
from sdsr.methods.one_step.recipes import NoisedDiscriminator
from sdsr.methods.recipe import Recipe, Stage
from sdsr.methods.settings import with_settings
from sdsr.methods.stablesr.encoder import EncoderSettings
from sdsr.methods.stablesr.method import StableSR
from sdsr.objectives.decoding import Decoding
from sdsr.objectives.training_step import Sample, TrainingStep
from sdsr.photos.photo import Photo
from sdsr.request import Request
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.restorer import Restorer
from sdsr.upscaling import Upscaler

PRIOR = "tiny"
STEPS = 2
CROP_PX = 64


def brief(recipe: Recipe) -> Recipe:
    """The method in few steps, where it offers the choice, and on canvases of the tiny prior's native size."""
    recipe = replace(recipe, canvas=reduced(recipe.canvas))
    assert recipe.method is not None
    if recipe.most_steps < STEPS:
        return recipe
    return recipe.with_plan(recipe.method.plan(Request(steps=STEPS)))


def reduced(canvas: Canvas) -> Canvas:
    """The canvas at an eighth, as 64 px are of 512."""
    sides = {name: getattr(canvas, name) for name in ("native_px", "window_px", "overlap_px")}
    sides = {name: side and side // 8 for name, side in sides.items()}
    return replace(canvas, multiple_px=None, **sides)


def built(recipe: Recipe) -> Restorer:
    """The method on the tiny prior, as its recipe makes it."""
    assert recipe.method is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return light(recipe.method).build(PRIOR)


def stirred(recipe: Recipe) -> Restorer:
    """The method on the tiny prior with parts that have moved, as in training, to numbers that float16 holds."""
    restorer = built(recipe)
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in restorer.parts.modules.parameters():
            moved = parameter + 0.02 * torch.randn(parameter.shape, generator=rng)
            parameter.copy_(moved.half())
    return restorer


@cache
def _shared(make: Callable[[Recipe], Restorer], name: str) -> Restorer:
    return make(brief(METHODS[name]))


def shared(make: Callable[[Recipe], Restorer], recipe: Recipe) -> Restorer:
    """What `built` or `stirred` makes of a method, made once: for tests that restore with it and change nothing."""
    return _shared(make, recipe.name)


@cache
def _picture(make: Callable[[Recipe], Restorer], name: str, pixels: bytes, shape: tuple[int, ...]) -> np.ndarray:
    given = Photo(pixels=np.frombuffer(pixels, np.uint8).reshape(shape).copy())
    picture = restored(brief(METHODS[name]), _shared(make, name), given)
    picture.flags.writeable = False
    return picture


def picture(make: Callable[[Recipe], Restorer], recipe: Recipe, given: Photo) -> np.ndarray:
    """The pixels of a photo that the shared restorer restored, once."""
    return _picture(make, recipe.name, given.pixels.tobytes(), given.pixels.shape)


def filled(recipe: Recipe, folder: Path) -> Restorer:
    """The method on the tiny prior with the parts of a folder."""
    restorer = built(recipe)
    fill_restorer(restorer, folder)
    return restorer


def small_photo(photo: Tensor, height: int = 15, width: int = 16) -> Photo:
    """The upper left of the suite's photo, 8 bit; four times as large, it fits in one window of the tiny prior."""
    return Photo(pixels=quantize(photo[..., :height, :width], np.uint8))


def restored(recipe: Recipe, restorer: Restorer, given: Photo, request: Request | None = None) -> np.ndarray:
    """The pixels of a photo that the method restored."""
    return Upscaler(recipe, restorer).upscale(given, request or Request(scale=4, seed=3)).pixels


def stages() -> list[tuple[str, Stage]]:
    """Every stage of every method, with a name to show."""
    return [(f"{recipe.name}-{stage.name}", stage) for recipe in METHODS.values() for stage in recipe.stages]


UNSEEN = ("optimizer", "discriminator_optimizer", "steps", "batch", "crop_px", "accumulate", "ema_decay", "init_from")
"""What of a stage its training here doesn't go by: a sample is fixed, and so is what is done with it."""


def distinct_stages() -> list[tuple[str, Stage]]:
    """Those that are not trained here as one before them is, of the same paper at another size, say."""
    found: list[tuple[str, Stage]] = []
    seen: list[tuple[float, Stage]] = []
    for name, stage in stages():
        first = found[0][1] if found else stage
        degradation = None if stage.degradation is None else "photo"
        same: dict[str, Any] = {field: getattr(first, field) for field in UNSEEN}
        kind = rate(name, stage), replace(stage, method=light(stage.method), degradation=degradation, **same)
        if kind not in seen:
            seen.append(kind)
            found.append((name, stage))
    return found


RATES = {"addsr-small-distillation": 6e-3, "stablesr-fusion": 1e-2, "stablesr-small-fusion": 1e-2}
"""Learning rates of short trainings. AddSR's small student is held to the photo, and has little to get there with: only
the layers on the hint learn, and attention that begins at a tenth. StableSR's small fusion, which begins with nothing,
is compared in the LQ photo's colors, so that colors, which are learned first, are no gain."""

GUIDED_DECODER_RATE = 5e-4
"""That of stages which train a guided decoder: at 1e-3 the tiny prior's is at the edge of stability, where rounding
moves the loss after ten steps by 2 %; at this rate by 0.4 %."""


def rate(name: str, stage: Stage) -> float:
    """The learning rate of a stage's short training."""
    return RATES.get(name, GUIDED_DECODER_RATE if isinstance(stage.objective, Decoding) else 1e-3)


def kept(stage: Stage, parameters: Iterable[str]) -> set[str]:
    """Those of the named parameters that do not learn in this stage."""
    return {parameter for parameter in parameters if not stage.learns.includes(parameter)}


def light(value: Any) -> Any:
    """A method or discriminator with networks that suit the tiny prior, where its own are of the published size."""
    match value:
        case InvSR():
            return replace(value, predictor=PredictorSettings(widths=(16, 32), layers=1, norm_groups=8, head_width=8))
        case StableSR() if value.encoder == EncoderSettings():
            encoder = EncoderSettings(widths=(32, 64), blocks=1, attention_at=(2,), map_channels=32)
            return replace(value, encoder=encoder, hidden=32, blocks=1, growth=8)
        case LatentDiscriminator() if value == LatentDiscriminator():
            return LatentDiscriminator(widths=(16, 16, 32), attention_heads=(2, 2, 2), norm_groups=8, pooling_heads=4)
        case NoisedDiscriminator():
            return NoisedDiscriminator(source="prior")
    return value


def training(stage: Stage) -> tuple[TrainingStep, nn.Module | None]:
    """What the stage trains on the tiny prior, and its discriminator.

    Where it begins with restoring photos, that takes few steps, and where it compares what was made of much noise, the
    prior predicts velocity: it is untrained, and estimates from noise would be all error.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what is trained begins the same in whatever order tests run
        return _training(stage)


def _training(stage: Stage) -> tuple[TrainingStep, nn.Module | None]:
    model = replace(stage, method=light(stage.method)).build(PRIOR)
    if isinstance(model, Restorer):
        _wake(model.prior.modules["autoencoder"].get_submodule("decoder"))
        _wake(model.parts.modules)
    estimating = {"sampling_steps": STEPS, "draws": 1}
    brief: dict[str, object] = {
        f"objective.{name}": count for name, count in estimating.items() if hasattr(stage.objective, name)
    }
    if isinstance(stage.objective, Decoding) and len(stage.objective.plan.times) > STEPS:
        brief["objective.plan.times"] = stage.objective.plan.times[-STEPS:]
    if brief:
        stage = with_settings(stage, brief)
        schedule = model.prior.schedule.predicting("v_prediction")
        model = replace(model, prior=model.prior.adapted(schedule=schedule))
    discriminator = light(stage.discriminator)(model) if stage.discriminator is not None else None
    return stage.objective.training_step(model, discriminator), discriminator


def _wake(module: nn.Module) -> None:
    """Give layers that begin at zero and don't learn random weights, so that all behind them is felt."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any() and parameter.ndim == 4 and not parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=rng) / parameter[0].numel() ** 0.5)


def fixed_sample(photo: Tensor, stage: Stage) -> Sample:
    """Two crops of the suite's photo, degraded where the stage wants that: smaller, and with noise."""
    hq = torch.cat([photo[..., :CROP_PX, :CROP_PX], photo[..., -CROP_PX:, -CROP_PX:]])
    if stage.degradation is None:
        return Sample(hq=hq)
    small = interpolate(hq, scale_factor=0.25, mode="bicubic", antialias=True)
    noise = torch.randn(small.shape, generator=torch.Generator().manual_seed(1))
    lq = (small + 0.03 * noise).clamp(0, 1)
    if not stage.taught:
        return Sample(hq=hq, lq=lq)
    return Sample(hq=hq, lq=lq, teacher=hq, numbers=tuple(range(len(hq))))  # known again, so restored once
