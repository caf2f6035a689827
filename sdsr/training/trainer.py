"""The training loop, on accelerate: one device or many, resumable, killable at any moment.

A step is a function of (seed, step): crops, degradations and noise are drawn from it, so a resumed run continues the
loss curve of the run that was stopped. Nothing here knows a method.
"""

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType

from sdsr.data.batches import prefetch
from sdsr.errors import InputError, ModelError
from sdsr.methods.recipe import Stage
from sdsr.objectives.training_step import Calibrated, Sample, TrainingStep
from sdsr.training.run import RunSettings, checkpoints, write_manifest
from sdsr.training.state import RunState
from sdsr.training.tracking import Tracker

log = logging.getLogger(__name__)

FIRST_BATCHES = 8  # what a training step prepares itself on and settles its statistics with


def train(
    training_step: TrainingStep,
    stage: Stage,
    source: Callable[[int], Sample],
    validation: Sequence[Sample],
    settings: RunSettings,
    *,
    metadata: Mapping[str, object],
    mixed_precision: str = "no",
    fresh: bool = True,
) -> Path:
    """Train until the run is done or told to stop; return the folder of the averaged parts (`parts/*.safetensors`).

    A `fresh` training step prepares itself on a few samples, if it is `Calibrated`. A first SIGTERM or Ctrl-C saves a
    checkpoint after the step in hand and returns. An error is passed on, after a checkpoint of the last whole step.
    """
    accelerator = Accelerator(
        mixed_precision=mixed_precision,
        gradient_accumulation_steps=stage.accumulate,
        cpu=not torch.accelerator.is_available(),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    _check(accelerator, settings)
    with accelerator.main_process_first():
        write_manifest(settings.folder, metadata)
    first = [source(settings.steps * stage.accumulate + index) for index in range(FIRST_BATCHES)]
    if fresh and not checkpoints(settings.folder) and isinstance(training_step, Calibrated):
        training_step.prepare(first)
    run = RunState(training_step, stage, settings, accelerator, metadata, first)
    run.resume()
    steps = range(run.clock.step * stage.accumulate, settings.steps * stage.accumulate)
    show = accelerator.is_main_process
    with (
        _stopping() as stop,
        Tracker(settings.folder, step=run.clock.step, total_steps=settings.steps, show=show) as tracker,
    ):
        batches = prefetch(source, steps, depth=2 * settings.loader_workers, workers=settings.loader_workers)
        with _saved_on_error(run):
            _loop(run, batches, validation, tracker, stop)
    run.save()
    return run.export(finished=run.progress() >= 1)


def leave_others() -> None:
    """Leave the group of processes that trained together; one that ends without may fall over the group's threads."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _loop(
    run: RunState, batches: Iterator[Sample], validation: Sequence[Sample], tracker: Tracker, stop: Callable[[], bool]
) -> None:
    saved = run.clock.seconds
    stopping = stop()
    while run.progress() < 1 and not stopping:
        began = time.monotonic()
        scalars = run.step(batches)
        spent, stopping, scalars = run.all_reduce(time.monotonic() - began, stop(), scalars)
        run.clock.step += 1
        run.clock.seconds += spent
        run.in_step = False
        if not math.isfinite(scalars["loss"]):
            raise ModelError(
                f"loss (={scalars['loss']}) at step {run.clock.step} is not finite; lower the learning rate."
            )
        if run.accelerator.is_main_process:
            _report(run, scalars, spent, tracker)
        if validation and (run.clock.step % run.settings.validate_every == 0 or run.progress() >= 1):
            _validate(run, validation, tracker)
        if run.clock.seconds - saved > run.settings.save_every_s:
            run.save()
            run.export(finished=False)
            saved = run.clock.seconds


@contextmanager
def _saved_on_error(run: RunState) -> Iterator[None]:
    """Save a checkpoint when an error ends the run, where there is something sound to save, and pass the error on."""
    try:
        yield
    except Exception:
        if run.is_sound():
            try:
                run.save()
                log.warning(
                    "an error ends the run; it is saved at step %d, where the same command goes on", run.clock.step
                )
            except Exception as error:
                log.warning("an error ends the run, and no checkpoint could be saved (%s)", error)
        raise


def _check(accelerator: Accelerator, settings: RunSettings) -> None:
    if accelerator.distributed_type == DistributedType.FSDP:
        raise InputError(
            "FSDP (=the distributed type of accelerate's configuration) is done here without it; "
            "use accelerate's --multi_gpu, and --shard after `sdsr train`."
        )
    begun = os.environ.get("WORLD_SIZE", "1")
    if begun != "1" and accelerator.num_processes == 1:  # each would train alone, all in one folder
        raise InputError(
            f"processes (={begun} by WORLD_SIZE) don't know of each other; start them with torchrun or "
            "`accelerate launch`, or unset it."
        )
    if settings.shard and accelerator.num_processes == 1:
        raise InputError("--shard needs several processes (=1); start them with `accelerate launch`, or leave it out.")


def _report(run: RunState, scalars: Mapping[str, float], spent_s: float, tracker: Tracker) -> None:
    step = run.clock.step
    progress = run.progress()
    left = run.clock.seconds * (1 - progress) / max(progress, 1e-6)
    images = run.stage.batch * run.stage.accumulate * run.accelerator.num_processes
    tracker.advance(step, images_per_s=images / spent_s, left_s=left, note=f"loss {scalars['loss']:.4f}")
    tracker.scalars(step, scalars)


def _validate(run: RunState, validation: Sequence[Sample], tracker: Tracker) -> None:
    """Score and show the averaged weights; the first process does, the others lend it their shards."""
    with run.ema_scope():
        if run.accelerator.is_main_process:
            figures, columns = run.validate(validation)
            tracker.scalars(run.clock.step, figures)
            tracker.sheet(run.clock.step, columns)
            log.info("step %d, %.0f s: %s", run.clock.step, run.clock.seconds, _listed(figures))


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether SIGINT or SIGTERM came; a second one acts as usual."""
    asked: list[int] = []
    previous: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def note(number: int, _: object) -> None:
        asked.append(number)
        signal.signal(number, previous[number])
        log.warning("stopping after this step; once more to stop at once")

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, note)
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name.removeprefix('validation/')} {value:.4g}" for name, value in figures.items())
