"""An ablation: each variant of a table trained with the same data, budget and seeds, then scored on the same photos.

Each (variant, seed) is an ordinary training run in FOLDER/VARIANT/seed-N, so that a killed ablation goes on where it
was; what is scored is noted there in `scores.json` and not done again.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch

from sdsr.checkpoints.weights import run_metadata
from sdsr.data.photos import open_photos
from sdsr.errors import InputError
from sdsr.images.floats import levels_as_image, quantize
from sdsr.losses.perceptual import PerceptualDistance
from sdsr.losses.small_perceptual import load_small_perceptual
from sdsr.methods.recipe import Recipe, Stage
from sdsr.methods.variant import Variant
from sdsr.metrics.benchmark import score_pairs
from sdsr.metrics.clip import gain_of, with_clip, with_gain
from sdsr.metrics.pairs import Pair
from sdsr.metrics.planes import Values, resized
from sdsr.metrics.protocol import PROTOCOLS, Measure, Protocol
from sdsr.metrics.report import SIGNS
from sdsr.metrics.save import save_text
from sdsr.metrics.tables import csv_text
from sdsr.photos.photo import Photo
from sdsr.prior.loading import choose_device
from sdsr.request import Request
from sdsr.restoration.restorer import Restorer
from sdsr.training.launch import LaunchSettings, launch, load_parts, precision_of
from sdsr.training.run import RunSettings
from sdsr.training.samples import validation_samples
from sdsr.upscaling import Upscaler

log = logging.getLogger(__name__)

SCORES = "scores.json"
NOTE = "ablation.json"


@cache
def _distance() -> PerceptualDistance:
    return load_small_perceptual().distance()


@torch.inference_mode()
def _small_perceptual(result: Values, truth: Values) -> float:
    return float(_distance()(levels_as_image(result), levels_as_image(truth)))


_SMALL = Measure(name="small_perceptual", function=_small_perceptual, plane="rgb", needs_truth=True, better="lower")
_SHOWN = {"psnr_y", "ssim_y", "niqe", "hf_busy", "hf_flat"}
PROTOCOL: Protocol = replace(
    PROTOCOLS["realisr-y"],
    name="ablation",
    description="psnr_y, ssim_y, niqe, hf_busy and hf_flat of realisr-y; small_perceptual is the embedded network's "
    "distance, a yardstick of training and no reported metric",
    measures=(*(measure for measure in PROTOCOLS["realisr-y"].measures if measure.name in _SHOWN), _SMALL),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationSettings:
    """What all variants have in common. `changes` are settings of every stage, which a variant's own override.

    The first `photos` of `validation` are restored, their middle squares of `photo_px`, in `sampling_steps` where the
    method offers a choice. With `clip` (as `with_clip` names it), CLIP-I and Delta-CLIP-I are measured too.
    """

    data: tuple[Path, ...]
    validation: tuple[Path, ...]
    minutes: float | int | None = None
    steps: int | None = None
    seeds: tuple[int, ...] = (0,)
    sampling_steps: int = 20
    photos: int = 24
    photo_px: int = 256
    clip: str | None = None
    prior: str | None = None
    pairs: tuple[Path, ...] = ()
    init_from: tuple[Path, ...] = ()
    changes: Mapping[str, object] = field(default_factory=dict)
    precision: str = "auto"
    save_every_s: float | int = 300.0
    threads: int | None = None

    @property
    def protocol(self) -> Protocol:
        """What each restored photo is measured by."""
        return with_clip(PROTOCOL, self.clip) if self.clip else PROTOCOL

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The columns of the table."""
        return (*self.protocol.measures, gain_of(self.protocol)) if self.clip else PROTOCOL.measures


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The figures of one trained variant: means over the photos, under the measures' names."""

    variant: str
    seed: int
    step: int
    seconds: int
    figures: dict[str, float]


def ablate(table: Mapping[str, Variant], folder: Path, settings: AblationSettings) -> Iterator[Result]:
    """Yield each variant's result, seed by seed, as it is trained and scored; end where training is told to stop.

    `results.csv` in the folder holds what is there so far.
    """
    if settings.minutes is None and settings.steps is None:
        raise InputError("budget (=none) must be equal for all variants; give --minutes or --steps.")
    measures = settings.measures
    _note(folder, settings)
    for seed in settings.seeds:
        for name, variant in table.items():
            result = _result(name, variant, seed, folder / _plain(name) / f"seed-{seed}", settings)
            if result is None:
                log.warning("stopped at %s, seed %d; the same command goes on from there", name, seed)
                return
            save_text(results_csv(scored(folder), measures), folder / "results.csv")
            yield result


def scored(folder: Path) -> list[Result]:
    """What an ablation's folder holds so far, whichever calls it came from, in the order of finishing."""
    files = sorted(folder.glob(f"*/seed-*/{SCORES}"), key=lambda file: file.stat().st_mtime_ns)
    return [_read(file) for file in files]


def results_csv(results: Sequence[Result], measures: Sequence[Measure]) -> str:
    """A line for each variant and seed."""
    names = [measure.name for measure in measures]
    head = ["variant", "seed", "step", "seconds", *names]
    lines = ([row.variant, row.seed, row.step, row.seconds, *(row.figures[name] for name in names)] for row in results)
    return csv_text([head, *lines])


def summary(results: Sequence[Result], measures: Sequence[Measure]) -> list[list[str]]:
    """The cells of a table: a head, then for each variant the means over its seeds and their standard deviations."""
    rows: dict[str, list[Result]] = {}
    for result in results:
        rows.setdefault(result.variant, []).append(result)
    head = ["variant", "seeds", *(f"{measure.name} {SIGNS[measure.better]}" for measure in measures)]
    return [head, *([name, str(len(own)), *(_cell(own, m) for m in measures)] for name, own in rows.items())]


def _cell(results: Sequence[Result], measure: Measure) -> str:
    values = [result.figures[measure.name] for result in results]
    text = f"{mean(values):.{measure.decimals}f}"
    return text if len(values) == 1 else f"{text} ± {stdev(values):.{measure.decimals}f}"


def _plain(name: str) -> str:
    """A row's name as that of a folder."""
    return re.sub(r"[^\w.]+", "-", name).strip("-").lower()


def _note(folder: Path, settings: AblationSettings) -> None:
    """Note what all runs have in common; raise InputError where the folder was begun with something else."""
    free = {"seeds", "save_every_s", "threads"}
    wanted = {key: value for key, value in asdict(settings).items() if key not in free}
    noted = json.loads(json.dumps(wanted, default=str))
    path = folder / NOTE
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        for key, value in noted.items():
            if before.get(key) != value:
                raise InputError(
                    f"run (={folder}) was begun with {key} (={before.get(key)}), not {value}; "
                    "name another --run, or the same settings."
                )
    folder.mkdir(parents=True, exist_ok=True)
    save_text(json.dumps(noted, indent=2) + "\n", path)


def _result(name: str, variant: Variant, seed: int, folder: Path, settings: AblationSettings) -> Result | None:
    """Train and score one variant, as far as that is not yet done; None where training was told to stop."""
    if (folder / SCORES).exists():
        return _read(folder / SCORES)
    stage = variant.trained(settings.changes)
    begins = _of_use(settings, variant.recipe, stage)
    launched = LaunchSettings(
        data=settings.data,
        stage=variant.stage,
        pairs=settings.pairs,
        prior=settings.prior,
        init_from=begins,
        changes={**settings.changes, **variant.changes},
        precision=settings.precision,
        threads=settings.threads,
    )
    run = RunSettings(
        folder=folder,
        steps=settings.steps or 0,
        minutes=settings.minutes,
        seed=seed,
        save_every_s=settings.save_every_s,
    )
    parts = launch(variant.recipe, launched, run)
    facts = {key: json.loads(value) for key, value in run_metadata(parts).items() if key in _FACTS}
    if not facts["finished"]:
        return None
    upscaler = _upscaler(variant.recipe, stage, [*begins, parts], settings, seed=seed)
    figures = _scored(upscaler, stage, settings)
    result = Result(variant=name, seed=seed, step=facts["step"], seconds=facts["seconds"], figures=figures)
    save_text(json.dumps(asdict(result), indent=2) + "\n", folder / SCORES)
    return result


def _read(file: Path) -> Result:
    return Result(**json.loads(file.read_text(encoding="utf-8")))


_FACTS = ("step", "seconds", "finished")


def _of_use(settings: AblationSettings, recipe: Recipe, stage: Stage) -> tuple[Path, ...]:
    """The folders that have parts of this variant, which may do without what others begin with."""
    if not settings.init_from:
        return ()
    restorer = stage.build(settings.prior or recipe.prior, torch.device(choose_device()))
    names = restorer.parts.modules.keys()
    return tuple(
        folder for folder in settings.init_from if any((folder / f"{name}.safetensors").is_file() for name in names)
    )


def _upscaler(
    recipe: Recipe, stage: Stage, folders: Sequence[Path], settings: AblationSettings, *, seed: int
) -> Upscaler:
    """Return what the stage's model restores with, filled with the trained parts; what none has is as at the start."""
    if recipe.plan is None:
        raise InputError(f"variant (={recipe.name}) restores nothing; an ablation compares what restores photos.")
    device = torch.device(choose_device())
    torch.manual_seed(seed)
    restorer = stage.build(settings.prior or recipe.prior, device)
    assert isinstance(restorer, Restorer), f"{recipe.name}, {stage.name} trains no restorer"
    load_parts(dict(restorer.parts.modules.items()), folders)
    restorer.parts.modules.to(device).eval().requires_grad_(False)
    restorer = replace(restorer, prior=restorer.prior.adapted(dtype=precision_of(settings.precision, device)))
    trained_at = json.loads(run_metadata(folders[-1]).get("times", "[]"))
    times = tuple(trained_at) or _times(recipe, settings.sampling_steps)
    return Upscaler(recipe.with_plan(replace(recipe.plan, times=times)), restorer)


def _times(recipe: Recipe, steps: int) -> tuple[int, ...]:
    """The times of this many steps, or the method's own where it has no such choice."""
    return recipe.restoring.plan(Request(steps=steps if recipe.most_steps > 1 else None)).times


def _scored(upscaler: Upscaler, stage: Stage, settings: AblationSettings) -> dict[str, float]:
    side = settings.photo_px
    samples = validation_samples(open_photos(settings.validation), stage, crop_px=side, limit=settings.photos)
    restored = []
    enlarged = []
    for sample in samples:
        assert sample.lq is not None, "what restores is trained on degraded photos"
        for lq, hq in zip(sample.lq, sample.hq, strict=True):
            given, truth = (quantize(image[None], np.uint8) for image in (lq, hq))
            request = Request(width=side, height=side, seed=len(restored))
            result = upscaler.upscale(Photo(pixels=given), request).pixels
            restored.append(Pair.of(str(len(restored)), result, truth))
            enlarged.append(Pair.of(str(len(enlarged)), resized(given, (side, side)), truth))
    scores = score_pairs(restored, settings.protocol)
    if settings.clip:
        scores = with_gain({"restored": scores}, score_pairs(enlarged, settings.protocol))["restored"]
    return {measure.name: scores.of(measure) for measure in settings.measures}
