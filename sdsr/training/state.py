"""The parts of a run that change: modules, optimizers, averages, clock; how they step, are saved, resumed, exported."""

import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sdsr.errors import ModelError
from sdsr.methods.recipe import OptimizerSettings, Stage
from sdsr.objectives.training_step import Calibrated, Outcome, Sample, TrainingStep, numbers
from sdsr.restoration.tiles import ran_out
from sdsr.tensors import Image
from sdsr.training.optim import make_optimizer, rate, set_rate
from sdsr.training.run import (
    Clock,
    RunSettings,
    atomic_folder,
    checkpoints,
    drop_old_checkpoints,
    partial_of,
    save_parts,
)
from sdsr.training.samples import on_device, split
from sdsr.training.sharding import (
    check_sharded,
    gathered,
    load_shards,
    own_share,
    reaching_all,
    rejoined,
    save_shards,
    shard,
    share_of,
    whole,
    whole_states,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One learning side of a run: the module that computes its loss, and how its parameters are moved."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    settings: OptimizerSettings


class RunState:
    """The parts of a run that change: modules, optimizers, averages, clock."""

    def __init__(
        self,
        training_step: TrainingStep,
        stage: Stage,
        settings: RunSettings,
        accelerator: Accelerator,
        metadata: Mapping[str, object],
        first: Sequence[Sample],
    ) -> None:
        self.training_step = training_step
        self.stage = stage
        self.settings = settings
        self.accelerator = accelerator
        self.metadata = metadata
        self.first = first
        self.clock = Clock()
        self.saved_step: int | None = None
        self.pieces = 1  # that each batch is computed in
        self.in_step = False  # between a step's first change of parameters and its end
        module = cast(nn.Module, training_step).to(accelerator.device).train()
        if settings.shard:
            self.main = self._sharded(module, stage.optimizer)
        else:
            self.main = self._copied(module, self._trained(), stage.optimizer)
        self.parameters = self._trained()
        self.shares = [own_share(parameter) for parameter in self.parameters]
        self.averages = EMAModel(self.shares, decay=stage.ema_decay)
        self.discriminator: Side | None = None
        if training_step.discriminator is not None:
            discriminator = training_step.discriminator.to(accelerator.device)
            self.discriminator = self._copied(
                discriminator, discriminator.parameters(), stage.discriminator_optimizer or stage.optimizer
            )

    def _trained(self) -> list[nn.Parameter]:
        """The parameters of the training step's parts that are not frozen."""
        return [
            p for part in self.training_step.trainable_modules.values() for p in part.parameters() if p.requires_grad
        ]

    def _copied(self, module: nn.Module, trained: Iterable[nn.Parameter], settings: OptimizerSettings) -> Side:
        """A side that every process holds whole (DDP)."""
        if self.settings.compile:
            module.compile()
        module, optimizer = self.accelerator.prepare(module, make_optimizer(settings, trained))
        return Side(module=module, optimizer=optimizer, settings=settings)

    def _sharded(self, module: nn.Module, settings: OptimizerSettings) -> Side:
        """A side of which every process holds a share; no discriminator is one: objectives ask it directly."""
        if self.settings.compile:
            module.compile()
        shard(module, self.accelerator.device)
        return Side(module=module, optimizer=make_optimizer(settings, self._trained()), settings=settings)

    def progress(self) -> float:
        return self.settings.progress(self.clock.step, self.clock.seconds)

    def step(self, batches: Iterator[Sample]) -> dict[str, float]:
        """Do one optimizer step of each side, over `accumulate` batches; return the last one's scalars.

        Where memory runs out, all of it is done again with each batch in twice the pieces, whose gradients add up to
        its own, but for losses that look at a batch as a whole; later steps keep to that. Noise is another then.
        """
        samples = [next(batches) for _ in range(self.stage.accumulate)]
        while True:
            try:
                scalars = self._step(samples)
                break
            except (MemoryError, RuntimeError) as error:
                if not ran_out(error) or not self._may_split(samples):
                    raise
            self._split_further(len(samples[0].hq))  # outside, where what the error holds of the attempt is let go
        self.averages.step(self.shares)
        return numbers(scalars)

    def _step(self, samples: Sequence[Sample]) -> dict[str, Tensor | float]:
        scalars: dict[str, Tensor | float] = {}
        for part, whole_sample in enumerate(samples):
            sample = on_device(whole_sample, self.accelerator.device)
            rng = self._rng(self.clock.step * self.stage.accumulate + part)
            scalars = {}
            pieces = list(split(sample, self.pieces))
            for index, (share, piece) in enumerate(pieces):
                last = part == len(samples) - 1 and index == len(pieces) - 1
                for name, value in self._both_descend(last, share, piece, rng).items():
                    scalars[name] = scalars.get(name, 0.0) + share * value
        return scalars

    def _both_descend(
        self, last: bool, share: float, sample: Sample, rng: torch.Generator
    ) -> dict[str, Tensor | float]:
        outcome = self._descend(self.main, last, share, sample, rng, self.progress())
        scalars = {"loss": outcome.loss.detach(), **outcome.scalars}
        if self.discriminator is not None and outcome.record is not None:
            verdict = self._descend(self.discriminator, last, share, outcome.record.detached(), rng)
            scalars |= {f"discriminator/{name}": value for name, value in verdict.scalars.items()}
        return scalars

    def _may_split(self, samples: Sequence[Sample]) -> bool:
        """Whether a step may be done again in smaller pieces: alone, nothing stepped yet, and several photos each."""
        alone = self.accelerator.num_processes == 1  # others would wait for a gradient that doesn't come
        return alone and not self.in_step and self.pieces < len(samples[0].hq)

    def _split_further(self, batch: int) -> None:
        self.pieces = min(2 * self.pieces, batch)
        log.warning("memory ran out: batches of %d go on in %d pieces, whose gradients add up.", batch, self.pieces)
        for side in (self.main, self.discriminator):
            if side is not None:
                side.optimizer.zero_grad(set_to_none=True)
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()

    def _descend(self, side: Side, last: bool, share: float, *inputs: object) -> Outcome:
        """Add up the gradients of a step's batches, and take the step with the last of them.

        `share` is what the inputs are of their batch.
        Not `accelerator.accumulate`, which counts its calls: the discriminator's would be taken for the main side's.
        """
        with nullcontext() if last else self.accelerator.no_sync(side.module):
            with self.accelerator.autocast():
                outcome = side.module(*inputs)
            sharded = self.settings.shard and side is self.main
            loss = outcome.loss if share == 1.0 else share * outcome.loss
            self.accelerator.backward(reaching_all(loss, self._trained()) if sharded else loss)
        if last:
            set_rate(side.optimizer, rate(side.settings, self.clock.step, self.progress()))
            norm = self.accelerator.clip_grad_norm_(
                [p for group in side.optimizer.param_groups for p in group["params"]], side.settings.clip_norm
            )
            if norm is not None and self.accelerator.scaler is None and not math.isfinite(norm := float(whole(norm))):
                raise ModelError(  # not in fp16, which skips such a step
                    f"the gradient's norm (={norm}) at step {self.clock.step} is not finite; lower the learning rate."
                )
            self.in_step = True
            side.optimizer.step()
            side.optimizer.zero_grad(set_to_none=True)
        return outcome

    def is_sound(self) -> bool:
        """Return whether all is as after a whole step, and finite; several processes can't tell that of each other."""
        if self.accelerator.num_processes > 1 or self.in_step or self.clock.step == 0:
            return False
        tensors = (*self.main.module.parameters(), *self.main.module.buffers(), *self.averages.shadow_params)
        return all(bool(tensor.isfinite().all()) for tensor in tensors if tensor.is_floating_point())

    def all_reduce(
        self, seconds: float, stopping: bool, scalars: dict[str, float]
    ) -> tuple[float, bool, dict[str, float]]:
        """Return how long a step took, whether to stop, and its scalars: means over the processes, the same for all.

        So they stay together, and the loss is that of the whole batch; each must have the same scalars, in one order.
        """
        if self.accelerator.num_processes == 1:
            return seconds, stopping, scalars
        told = torch.tensor([seconds, float(stopping), *scalars.values()], device=self.accelerator.device)
        mean = cast(torch.Tensor, self.accelerator.reduce(told, reduction="mean")).tolist()
        return mean[0], mean[1] > 0, dict(zip(scalars, mean[2:], strict=True))

    def _rng(self, index: int) -> torch.Generator:
        """Return the noise of a step: a stream of its own for every seed, step and process; -1 is validation."""
        entropy = (self.settings.seed, index + 1, self.accelerator.process_index)
        return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))

    @contextmanager
    def ema_scope(self) -> Iterator[None]:
        """The averaged parameters in place of the trained ones, gathered whole; every process takes part."""
        with self._averaged(), gathered(self.main.module):
            yield

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        self.averages.store(self.shares)
        self.averages.copy_to(self.shares)
        try:
            yield
        finally:
            self.averages.restore(self.shares)

    def validate(self, validation: Sequence[Sample]) -> tuple[dict[str, float], dict[str, Image]]:
        """Return mean figures over the validation samples, and the picture columns of the first one; in `ema_scope`."""
        module = self.accelerator.unwrap_model(self.main.module)
        module.eval()
        with torch.no_grad(), self.accelerator.autocast():
            moved = [on_device(sample, self.accelerator.device) for sample in validation]
            figures = [self.training_step.measure(sample, self._rng(-1)) for sample in moved]
            columns = self.training_step.pictures(moved[0], self._rng(-1))
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
        with atomic_folder(target) if main else nullcontext(partial_of(target)) as partial:
            self.accelerator.wait_for_everyone()
            self.accelerator.save_state(str(partial))
            if self.settings.shard:
                save_shards(self.main.module, self.main.optimizer, partial, main=main)
            averages = [rejoined(*pair) for pair in zip(self.averages.shadow_params, self.parameters, strict=True)]
            if main:
                self._save_clock(partial, averages)
            self.accelerator.wait_for_everyone()
        if main:
            drop_old_checkpoints(self.settings.folder)
        self.saved_step = self.clock.step

    def _save_clock(self, folder: Path, averages: Sequence[torch.Tensor]) -> None:
        shadows = {str(index): tensor.contiguous() for index, tensor in enumerate(averages)}
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
        check_sharded(found[-1], self.settings.shard)
        self.accelerator.load_state(str(found[-1]))
        if self.settings.shard:
            load_shards(self.main.module, self.main.optimizer, found[-1])
        clock = json.loads((found[-1] / "clock.json").read_text())
        shadows = load_file(found[-1] / "averages.safetensors")
        self.averages.shadow_params = [
            share_of(shadows[str(index)].to(self.accelerator.device, copy=True), parameter)
            for index, parameter in enumerate(self.parameters)
        ]
        self.averages.optimization_step = clock["averaged"]
        self.clock = Clock(clock["step"], clock["seconds"])
        self.saved_step = clock["step"]
        log.info("resumed at step %d from %s", self.clock.step, found[-1].name)

    def export(self, *, finished: bool) -> Path:
        """Write the averaged parts with their metadata, after the training step has settled its statistics for them."""
        target = self.settings.folder / "parts"
        main = self.accelerator.is_main_process
        with self._averaged(), kept_buffers(self.accelerator.unwrap_model(self.main.module)):
            with gathered(self.main.module), self.accelerator.autocast():
                if main and isinstance(self.training_step, Calibrated):
                    self.training_step.finish([on_device(sample, self.accelerator.device) for sample in self.first])
            parts = whole_states(self.training_step.trainable_modules)
            if main:
                facts = {"step": self.clock.step, "seconds": round(self.clock.seconds), "finished": finished}
                with atomic_folder(target) as partial:
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
