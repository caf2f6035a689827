"""Both sides of a step, their optimizers and averages, as CUDA graphs: one for each place of the window."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from bench.gpu.captured_step import Batch, DefaultStep
from sdsr.methods.small_stages import DISCRIMINATOR_OPTIMIZER
from sdsr.prior.loading import choose_dtype

AVERAGED_OVER = 0.998
_CLIP_NORM = 1.0


class CapturedTraining:
    """Trains a `DefaultStep` on `batch`, whose tensors are filled anew for each step.

    Until `capture`, and on a CPU, steps are computed as they come. `rate` is the learning rate of the main side, on the
    device; the discriminator's stays as it is.
    """

    def __init__(self, step: DefaultStep, batch: Batch, offsets: Sequence[tuple[int, int]], *, rate: float) -> None:
        self.step = step
        self.batch = batch
        self.offsets = offsets
        self.device = batch.hq.device
        self.parameters = step.trained()
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        self.rate = torch.tensor(rate, device=self.device)
        self._judge_rate = torch.tensor(DISCRIMINATOR_OPTIMIZER.learning_rate, device=self.device)
        self.optimizer = self._adamw(self.parameters, self.rate, (0.9, 0.999))
        heads = list(step.judge.heads.parameters())
        self.judges = self._adamw(heads, self._judge_rate, DISCRIMINATOR_OPTIMIZER.betas)
        self.heads = heads
        self.averages: list[Tensor] = [parameter.detach().clone() for parameter in self.parameters]
        self._told = torch.zeros(1, device=self.device)
        self.names: tuple[str, ...] = ()
        self.graphs: list[torch.cuda.CUDAGraph] = []

    def _adamw(self, parameters: Sequence[Tensor], rate: Tensor, betas: tuple[float, float]) -> torch.optim.AdamW:
        on_card = self.device.type == "cuda"
        return torch.optim.AdamW(
            parameters, lr=rate, betas=betas, weight_decay=0.01, fused=on_card, capturable=on_card, foreach=False
        )

    def once(self, offset: tuple[int, int]) -> None:
        """Do one step of both sides."""
        dtype = choose_dtype(self.device)
        autocast = torch.autocast(
            self.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16, cache_enabled=False
        )
        self.optimizer.zero_grad(set_to_none=True)
        self.judges.zero_grad(set_to_none=True)
        with autocast:
            terms, real, fake = self.step.losses(self.batch, offset)
            loss = self.step.total(terms)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, _CLIP_NORM)
        self.optimizer.step()
        with autocast:
            verdict = self.step.verdict(real, fake)
        verdict.backward()
        torch.nn.utils.clip_grad_norm_(self.heads, _CLIP_NORM)
        self.judges.step()
        for average, parameter in zip(self.averages, self.parameters, strict=True):
            average.lerp_(parameter.detach(), 1 - AVERAGED_OVER)
        told = {"loss": loss, "norm": norm, "discriminator": verdict, **terms}
        self.names = tuple(told)
        values = torch.stack([value.detach().float() for value in told.values()])
        if self._told.shape == values.shape:
            self._told.copy_(values)
        else:
            self._told = values

    def capture(self) -> None:
        """Warm up, then hold each place's step in a graph; all share their memory, for one runs at a time."""
        if self.device.type != "cuda":
            return
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for offset in (*self.offsets, *self.offsets[:2]):
                self.once(offset)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        torch.cuda.synchronize(self.device)
        pool = None
        for offset in self.offsets:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                self.once(offset)
            pool = graph.pool()
            self.graphs.append(graph)

    def replay(self, index: int) -> None:
        """Do the step of one place on what `batch` holds."""
        if self.graphs:
            self.graphs[index % len(self.graphs)].replay()
        else:
            self.once(self.offsets[index % len(self.offsets)])

    def weigh(self, weights: Mapping[str, float]) -> None:
        for name, weight in weights.items():
            self.step.weights[name].fill_(weight)

    def told(self) -> dict[str, float]:
        """Return the last step's figures; waits for it. Raises where they are not finite."""
        values = self._told.tolist()
        if not all(map(math.isfinite, values)):
            raise ArithmeticError(f"not finite: {dict(zip(self.names, values, strict=True))}")
        return dict(zip(self.names, values, strict=True))

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def state(self) -> list[Tensor]:
        """Return a copy of all that training changes."""
        return [each.detach().clone() for each in self._changed()]

    @torch.no_grad()
    def restore(self, state: Sequence[Tensor]) -> None:
        """Put such a copy back, each tensor in its place."""
        for each, kept in zip(self._changed(), state, strict=True):
            each.copy_(kept)

    def _changed(self) -> Iterator[Tensor]:
        yield from self.parameters
        yield from self.averages
        yield from self.heads
        yield from self.step.judge.heads.buffers()
        for optimizer in (self.optimizer, self.judges):
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    yield from (each for each in optimizer.state[parameter].values() if isinstance(each, Tensor))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """While it lasts, the averages stand in the parameters' places."""
        kept = [parameter.detach().clone() for parameter in self.parameters]
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.averages, strict=True):
                parameter.copy_(average)
            yield
            for parameter, value in zip(self.parameters, kept, strict=True):
                parameter.copy_(value)
