"""The training loop, on accelerate: one device or many, resumable, killable at any moment.

A step is a function of (seed, step): crops, degradations and noise are drawn from it, so a resumed run continues the
loss curve of the run that was stopped. Nothing here knows a method.
"""

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator, DistributedType
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import nn

from sdsr.data.batches import prefetch
from sdsr.errors import InputError, ModelError
from sdsr.methods.recipe import OptimizerSettings, Stage
from sdsr.objectives.learner import Learner, Outcome, Sample
from sdsr.training.optim import make_optimizer, rate, set_rate
from sdsr.training.run import (
    RunSettings,
    appearing,
    checkpoints,
    drop_old_checkpoints,
    note_run,
    partial_of,
    save_parts,
)
from sdsr.training.samples import on_device
from sdsr.training.tracking import Tracker

log = logging.getLogger(__name__)

FIRST_BATCHES = 8  # what a learner prepares itself on and settles its statistics with


@dataclass(slots=True)
class Clock:
    """Where a run stands: steps done and seconds of training spent, over all resumptions."""

    step: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One learning side of a run: the module that computes its loss, and how its parameters are moved."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    settings: OptimizerSettings


def train(
    learner: Learner,
    stage: Stage,
    source: Callable[[int], Sample],
    validation: Sequence[Sample],
    settings: RunSettings,
    *,
    metadata: Mapping[str, Any],
    mixed_precision: str = "no",
    fresh: bool = True,
) -> Path:
    """Train until the run is done or told to stop; return the folder of the averaged parts (`parts/*.safetensors`).

    A `fresh` learner prepares itself on a few samples. A first SIGTERM or Ctrl-C saves a checkpoint after the step in
    hand and returns.
    """
    accelerator = Accelerator(
        mixed_precision=mixed_precision,
        gradient_accumulation_steps=stage.accumulate,
        cpu=not torch.accelerator.is_available(),
    )
    if accelerator.distributed_type == DistributedType.FSDP:
        raise InputError("FSDP (=the distributed type asked for) is not supported yet; use DDP: --multi_gpu.")
    with accelerator.main_process_first():
        note_run(settings.folder, metadata)
    first = [source(settings.steps * stage.accumulate + index) for index in range(FIRST_BATCHES)]
    if fresh and not checkpoints(settings.folder):
        learner.prepare(first)
    run = _Run(learner, stage, settings, accelerator, metadata, first)
    run.resume()
    steps = range(run.clock.step * stage.accumulate, settings.steps * stage.accumulate)
    show = accelerator.is_main_process
    with (
        _stopping() as stop,
        Tracker(settings.folder, step=run.clock.step, total_steps=settings.steps, show=show) as tracker,
    ):
        batches = prefetch(source, steps, depth=2 * settings.loader_workers, workers=settings.loader_workers)
        _loop(run, batches, validation, tracker, stop)
    run.save()
    return run.export(finished=run.progress() >= 1)


def _loop(
    run: "_Run", batches: Iterator[Sample], validation: Sequence[Sample], tracker: Tracker, stop: Callable[[], bool]
) -> None:
    saved, stopping = run.clock.seconds, stop()
    while run.progress() < 1 and not stopping:
        began = time.monotonic()
        scalars = run.step(batches)
        spent, stopping = run.agreed(time.monotonic() - began, stop())
        run.clock.step += 1
        run.clock.seconds += spent
        if not math.isfinite(scalars["loss"]):
            raise ModelError(
                f"loss (={scalars['loss']}) at step {run.clock.step} is not finite; lower the learning rate."
            )
        if run.accelerator.is_main_process:
            _report(run, scalars, spent, validation, tracker)
        if run.clock.seconds - saved > run.settings.save_every_s:
            run.save()
            run.export(finished=False)
            saved = run.clock.seconds


def _report(
    run: "_Run", scalars: Mapping[str, float], spent_s: float, validation: Sequence[Sample], tracker: Tracker
) -> None:
    step, progress = run.clock.step, run.progress()
    left = run.clock.seconds * (1 - progress) / max(progress, 1e-6)
    images = run.stage.batch * run.stage.accumulate * run.accelerator.num_processes
    tracker.advance(step, images_per_s=images / spent_s, left_s=left, note=f"loss {scalars['loss']:.4f}")
    tracker.scalars(step, scalars)
    if validation and (step % run.settings.validate_every == 0 or progress >= 1):
        figures, columns = run.validate(validation)
        tracker.scalars(step, figures)
        tracker.sheet(step, columns)
        log.info("step %d, %.0f s: %s", step, run.clock.seconds, _listed(figures))


class _Run:
    """The parts of a run that change: modules, optimizers, averages, clock."""

    def __init__(
        self,
        learner: Learner,
        stage: Stage,
        settings: RunSettings,
        accelerator: Accelerator,
        metadata: Mapping[str, Any],
        first: Sequence[Sample],
    ) -> None:
        self.learner, self.stage, self.settings, self.accelerator = learner, stage, settings, accelerator
        self.metadata, self.first, self.clock = metadata, first, Clock()
        self.saved_step: int | None = None
        module = cast(nn.Module, learner).to(accelerator.device).train()
        self.parameters = [p for part in learner.parts.values() for p in part.parameters() if p.requires_grad]
        self.main = self._side(module, make_optimizer(stage.optimizer, self.parameters), stage.optimizer)
        self.averages = EMAModel(self.parameters, decay=stage.ema_decay)
        self.critic: Side | None = None
        if learner.critic is not None:
            chosen = stage.critic_optimizer or stage.optimizer
            critic = learner.critic.to(accelerator.device)
            self.critic = self._side(critic, make_optimizer(chosen, critic.parameters()), chosen)

    def _side(self, module: nn.Module, optimizer: torch.optim.Optimizer, settings: OptimizerSettings) -> Side:
        if self.settings.compile:
            module.compile()
        module, optimizer = self.accelerator.prepare(module, optimizer)
        return Side(module=module, optimizer=optimizer, settings=settings)

    def progress(self) -> float:
        return self.settings.progress(self.clock.step, self.clock.seconds)

    def step(self, batches: Iterator[Sample]) -> dict[str, float]:
        """Do one optimizer step of each side, over `accumulate` batches; return the last one's scalars."""
        scalars: dict[str, float] = {}
        for part in range(self.stage.accumulate):
            last = part == self.stage.accumulate - 1
            sample = on_device(next(batches), self.accelerator.device)
            rng = self._rng(self.clock.step * self.stage.accumulate + part)
            outcome = self._descend(self.main, last, sample, rng, self.progress())
            scalars = {"loss": float(outcome.loss.detach()), **outcome.scalars}
            if self.critic is not None and outcome.judged is not None:
                verdict = self._descend(self.critic, last, outcome.judged.detached(), rng)
                scalars |= {f"critic/{name}": value for name, value in verdict.scalars.items()}
        self.averages.step(self.parameters)
        return scalars

    def _descend(self, side: Side, last: bool, *inputs: Any) -> Outcome:
        """Add up the gradients of a step's batches, and take the step with the last of them.

        Not `accelerator.accumulate`, which counts its calls: the critic's would be taken for the main side's.
        """
        with nullcontext() if last else self.accelerator.no_sync(side.module):
            outcome = side.module(*inputs)
            self.accelerator.backward(outcome.loss)
        if last:
            set_rate(side.optimizer, rate(side.settings, self.clock.step, self.progress()))
            norm = self.accelerator.clip_grad_norm_(
                [p for group in side.optimizer.param_groups for p in group["params"]], side.settings.clip_norm
            )
            if norm is not None and self.accelerator.scaler is None and not math.isfinite(norm):  # fp16 skips a step
                raise ModelError(
                    f"the gradient's norm (={norm}) at step {self.clock.step} is not finite; lower the learning rate."
                )
            side.optimizer.step()
            side.optimizer.zero_grad(set_to_none=True)
        return outcome

    def agreed(self, seconds: float, stopping: bool) -> tuple[float, bool]:
        """Return how long a step took and whether to stop, the same for all processes, so that they stay together."""
        if self.accelerator.num_processes == 1:
            return seconds, stopping
        told = torch.tensor([seconds, float(stopping)], device=self.accelerator.device)
        mean = cast(torch.Tensor, self.accelerator.reduce(told, reduction="mean"))
        return float(mean[0]), bool(mean[1] > 0)

    def _rng(self, index: int) -> torch.Generator:
        """Return the noise of a step: a stream of its own for every seed, step and process; -1 is validation."""
        entropy = (self.settings.seed, index + 1, self.accelerator.process_index)
        return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged parameters in place of the trained ones."""
        self.averages.store(self.parameters)
        self.averages.copy_to(self.parameters)
        try:
            yield
        finally:
            self.averages.restore(self.parameters)

    def validate(self, validation: Sequence[Sample]) -> tuple[dict[str, float], dict[str, Any]]:
        """Return mean figures over the validation samples, and the picture columns of the first one."""
        module = self.accelerator.unwrap_model(self.main.module)
        module.eval()
        with self.averaged(), torch.no_grad(), self.accelerator.autocast():
            moved = [on_device(sample, self.accelerator.device) for sample in validation]
            figures = [self.learner.measure(sample, self._rng(-1)) for sample in moved]
            columns = self.learner.pictures(moved[0], self._rng(-1))
        module.train()
        weights = [len(sample.hq) for sample in validation]
        means = {
            f"validation/{name}": sum(w * f[name] for w, f in zip(weights, figures, strict=True)) / sum(weights)
            for name in figures[0]
        }
        return means, columns

    def save(self) -> None:
        """Write a checkpoint that appears only when it is complete; every process takes part."""
        if self.saved_step == self.clock.step:
            return
        target = self.settings.folder / "checkpoints" / f"step-{self.clock.step:08d}"
        main = self.accelerator.is_main_process
        with appearing(target) if main else nullcontext(partial_of(target)) as partial:
            self.accelerator.wait_for_everyone()
            self.accelerator.save_state(str(partial))
            if main:
                self._save_clock(partial)
            self.accelerator.wait_for_everyone()
        if main:
            drop_old_checkpoints(self.settings.folder)
        self.saved_step = self.clock.step

    def _save_clock(self, folder: Path) -> None:
        shadows = {str(index): tensor.contiguous() for index, tensor in enumerate(self.averages.shadow_params)}
        save_file(shadows, folder / "averages.safetensors")
        clock = {
            "step": self.clock.step,
            "seconds": self.clock.seconds,
            "averaged": self.averages.optimization_step,
        }
        (folder / "clock.json").write_text(json.dumps(clock))

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        found = checkpoints(self.settings.folder)
        if not found:
            return
        self.accelerator.load_state(str(found[-1]))
        clock = json.loads((found[-1] / "clock.json").read_text())
        shadows = load_file(found[-1] / "averages.safetensors", device=str(self.accelerator.device))
        self.averages.shadow_params = [shadows[str(index)] for index in range(len(shadows))]
        self.averages.optimization_step = clock["averaged"]
        self.clock, self.saved_step = Clock(clock["step"], clock["seconds"]), clock["step"]
        log.info("resumed at step %d from %s", self.clock.step, found[-1].name)

    def export(self, *, finished: bool) -> Path:
        """Write the averaged parts with their metadata, after the learner has settled its statistics for them."""
        target = self.settings.folder / "parts"
        if not self.accelerator.is_main_process:
            return target
        module = self.accelerator.unwrap_model(self.main.module)
        with self.averaged(), kept_buffers(module), appearing(target) as partial, self.accelerator.autocast():
            self.learner.finish([on_device(sample, self.accelerator.device) for sample in self.first])
            facts = {"step": self.clock.step, "seconds": round(self.clock.seconds), "finished": finished}
            parts = {name: part.state_dict() for name, part in self.learner.parts.items()}
            save_parts(parts, partial, {**self.metadata, **facts})
        return target


@contextmanager
def kept_buffers(module: nn.Module) -> Iterator[None]:
    """Put the module's buffers back afterwards, so that exporting leaves training as it was."""
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether SIGINT or SIGTERM came; a second one acts as usual."""
    asked: list[int] = []
    previous: dict[int, Any] = {}

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
