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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import nn

from sdsr.data.batches import prefetch
from sdsr.errors import ModelError
from sdsr.methods.recipe import Stage
from sdsr.objectives.learner import Learner, Sample
from sdsr.training.optim import make_optimizer, rate, set_rate
from sdsr.training.run import RunSettings, appearing, checkpoints, drop_old_checkpoints, save_parts
from sdsr.training.samples import on_device
from sdsr.training.tracking import Tracker

log = logging.getLogger(__name__)

NOISE_STREAM = 7919  # separates the seeds of noise from those of crops


@dataclass(slots=True)
class Clock:
    """Where a run stands: steps done and seconds of training spent, over all resumptions."""

    step: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One learning side of a run: the module that computes its loss, its optimizer, and the averaged parameters."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    settings: Any


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
    settings.folder.mkdir(parents=True, exist_ok=True)
    run = _Run(learner, stage, settings, accelerator, metadata)
    if not run.resume() and fresh:
        run.prepare([on_device(source(settings.steps + index), accelerator.device) for index in range(8)])
    steps = range(run.clock.step * stage.accumulate, settings.steps * stage.accumulate)
    show = accelerator.is_main_process
    with _stopping() as stop, Tracker(settings.folder, total_steps=settings.steps, show=show) as tracker:
        batches = prefetch(source, steps, depth=2 * settings.loader_workers, workers=settings.loader_workers)
        _loop(run, batches, validation, tracker, stop)
    run.save()
    return run.export(finished=run.progress() >= 1, validation=validation)


def _loop(
    run: "_Run", batches: Iterator[Sample], validation: Sequence[Sample], tracker: Tracker, stop: Callable[[], bool]
) -> None:
    saved = time.monotonic()
    while run.progress() < 1 and not stop():
        began = time.monotonic()
        scalars = run.step(batches)
        run.clock.step += 1
        spent = time.monotonic() - began
        run.clock.seconds += spent
        if not math.isfinite(scalars["loss"]):
            raise ModelError(
                f"loss (={scalars['loss']}) at step {run.clock.step} is not finite; lower the learning rate."
            )
        if not run.accelerator.is_main_process:
            continue
        step, progress = run.clock.step, run.progress()
        left = run.clock.seconds * (1 - progress) / max(progress, 1e-6)
        images = run.stage.batch * run.stage.accumulate * run.accelerator.num_processes
        tracker.advance(step, images_per_s=images / spent, left_s=left, note=f"loss {scalars['loss']:.4f}")
        tracker.scalars(step, scalars)
        if validation and (step % run.settings.validate_every == 0 or progress >= 1):
            figures, columns = run.validate(validation)
            tracker.scalars(step, figures)
            tracker.sheet(step, columns)
            log.info("step %d, %.0f s: %s", step, run.clock.seconds, _listed(figures))
        if time.monotonic() - saved > run.settings.save_every_s:
            run.save()
            run.export(finished=False, validation=validation)
            saved = time.monotonic()


class _Run:
    """The parts of a run that change: modules, optimizers, averages, clock."""

    def __init__(
        self,
        learner: Learner,
        stage: Stage,
        settings: RunSettings,
        accelerator: Accelerator,
        metadata: Mapping[str, Any],
    ) -> None:
        self.learner, self.stage, self.settings, self.accelerator = learner, stage, settings, accelerator
        self.metadata, self.clock = metadata, Clock()
        module = cast(nn.Module, learner).to(accelerator.device)
        self.parameters = [p for part in learner.parts.values() for p in part.parameters() if p.requires_grad]
        self.averages = EMAModel(self.parameters, decay=stage.ema_decay)
        self.main = self._side(module, make_optimizer(stage.optimizer, self.parameters), stage.optimizer)
        self.critic: Side | None = None
        if learner.critic is not None:
            chosen = stage.critic_optimizer or stage.optimizer
            critic = learner.critic.to(accelerator.device)
            self.critic = self._side(critic, make_optimizer(chosen, critic.parameters()), chosen)

    def _side(self, module: nn.Module, optimizer: torch.optim.Optimizer, settings: Any) -> Side:
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
            sample = on_device(next(batches), self.accelerator.device)
            rng = self._rng(self.clock.step * self.stage.accumulate + part)
            with self.accelerator.accumulate(self.main.module):
                outcome = self.main.module(sample, rng, self.progress())
                self._descend(self.main, outcome.loss)
            scalars = {"loss": float(outcome.loss.detach()), **outcome.scalars}
            if self.critic is not None and outcome.judged is not None:
                with self.accelerator.accumulate(self.critic.module):
                    verdict = self.critic.module(outcome.judged.detached(), rng)
                    self._descend(self.critic, verdict.loss)
                scalars |= {f"critic/{name}": value for name, value in verdict.scalars.items()}
        self.averages.step(self.parameters)
        return scalars

    def _descend(self, side: Side, loss: torch.Tensor) -> None:
        set_rate(side.optimizer, rate(side.settings, self.clock.step, self.progress()))
        self.accelerator.backward(loss)
        if self.accelerator.sync_gradients:
            self.accelerator.clip_grad_norm_(
                [p for group in side.optimizer.param_groups for p in group["params"]], side.settings.clip_norm
            )
        side.optimizer.step()
        side.optimizer.zero_grad(set_to_none=True)

    def _rng(self, index: int) -> torch.Generator:
        place = (self.settings.seed * NOISE_STREAM + index) * self.accelerator.num_processes
        return torch.Generator().manual_seed(place + self.accelerator.process_index)

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
        """Write a checkpoint that appears only when it is complete."""
        self.accelerator.wait_for_everyone()
        target = self.settings.folder / "checkpoints" / f"step-{self.clock.step:08d}"
        if target.exists():
            return
        with appearing(target) as partial:
            self.accelerator.save_state(str(partial))
            shadows = {str(index): tensor.contiguous() for index, tensor in enumerate(self.averages.shadow_params)}
            save_file(shadows, partial / "averages.safetensors")
            clock = {
                "step": self.clock.step,
                "seconds": self.clock.seconds,
                "averaged": self.averages.optimization_step,
            }
            (partial / "clock.json").write_text(json.dumps(clock))
        drop_old_checkpoints(self.settings.folder)

    def prepare(self, samples: list[Sample]) -> None:
        """Let the learner begin from some samples, if it wants to."""
        prepare = getattr(self.learner, "prepare", None)
        if prepare is not None:
            prepare(samples)
            self.averages = EMAModel(self.parameters, decay=self.stage.ema_decay)

    def resume(self) -> bool:
        """Go on from the newest checkpoint; return whether there is one."""
        found = checkpoints(self.settings.folder)
        if not found:
            return False
        self.accelerator.load_state(str(found[-1]))
        clock = json.loads((found[-1] / "clock.json").read_text())
        shadows = load_file(found[-1] / "averages.safetensors", device=str(self.accelerator.device))
        self.averages.shadow_params = [shadows[str(index)] for index in range(len(shadows))]
        self.averages.optimization_step = clock["averaged"]
        self.clock = Clock(clock["step"], clock["seconds"])
        log.info("resumed at step %d from %s", self.clock.step, found[-1].name)
        return True

    def export(self, *, finished: bool, validation: Sequence[Sample]) -> Path:
        """Write the averaged parts with their metadata, after the learner has settled its statistics for them."""
        target = self.settings.folder / "parts"
        if not self.accelerator.is_main_process:
            return target
        module = self.accelerator.unwrap_model(self.main.module)
        with self.averaged(), kept_buffers(module), appearing(target) as partial, self.accelerator.autocast():
            self.learner.finish([on_device(sample, self.accelerator.device) for sample in validation])
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
