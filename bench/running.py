"""What each choice of `sdsr/prior/running.py` is worth: a prior's parts as they run, beside the same otherwise.

python bench/running.py [--prior sd-2.1-base|small] [--size 512] [--rounds 3] [--only unet] [--json FILE]

A published architecture has random weights, on which no time depends. Rows take turns; ratios are to the first of their
part, of processor time (on a card, of the clock's).
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.measuring import Timing, heading, in_turn, machine, write_json
from bench.random_weights import random_prior
from sdsr.prior import running
from sdsr.prior.condition import Condition
from sdsr.prior.loading import choose_device, choose_dtype, load_prior
from sdsr.prior.prior import Prior
from sdsr.prior.running import running_on
from sdsr.prior.shapes import SHAPES

TIME = 399
Row = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A prior, and what its parts are given: an image, a latent, a condition."""

    prior: Prior
    image: torch.Tensor
    latent: torch.Tensor
    condition: Condition
    rounds: int

    @property
    def parts(self) -> dict[str, Row]:
        return {
            "unet": lambda: self.prior.denoise(self.latent, TIME, self.condition),
            "encode": lambda: self.prior.encode(self.image),
            "decode": lambda: self.prior.decode(self.latent),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", default=SHAPES[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["unet", "encode", "decode", "guidance"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = choose_device()
    work = prepared(arguments.prior, arguments.size, device, arguments.rounds)
    told = {"machine": machine(str(device)), "decided": running_on(device).words, "rows": {}}
    print(f"{arguments.prior}, {arguments.size} px, {heading(told['machine'])}\ndecided: {told['decided']}\n")
    print("| part | so | wall s | processor s | ratio |\n|---|---|---|---|---|")
    for part, timings in compared(work, arguments.only):
        first = next(iter(timings.values()))
        for name, timing in timings.items():
            print(f"| {part} | {name} | {timing.wall:.2f} | {timing.cpu:.2f} | {timing / first:.2f} |", flush=True)
            told["rows"][f"{part}, {name}"] = {"wall": timing.wall, "cpu": timing.cpu, "ratio": timing / first}
    write_json(arguments.json, told)


def prepared(name: str, size: int, device: torch.device, rounds: int, dtype: torch.dtype | None = None) -> Work:
    """Return a prior as it is decided to run, or in a dtype, and work for it."""
    if name in SHAPES:
        prior = random_prior(name, device=device, dtype=dtype or choose_dtype(device))
    else:
        prior = load_prior(name, device=device, dtype=dtype)
    rng = torch.Generator().manual_seed(0)
    cells = size // prior.factor
    return Work(
        prior=prior,
        image=torch.rand(1, 3, size, size, generator=rng).to(device),
        latent=torch.randn(1, prior.channels, cells, cells, generator=rng).to(device),
        condition=Condition(prompt=prior.embed("")),
        rounds=rounds,
    )


def compared(work: Work, only: str | None) -> Iterator[tuple[str, dict[str, Timing]]]:
    """Yield the timings of each part, first as was decided."""
    prompt = work.condition.prompt
    two = torch.cat([work.latent, work.latent])
    both = Condition(prompt=torch.cat([prompt, prompt]))
    unet = work.parts["unet"]
    ways = _ways(work.prior.device)
    choices: dict[str, dict[str, Row]] = {name: dict.fromkeys(ways, run) for name, run in work.parts.items()}
    choices["guidance"] = {
        "two passes": lambda: (unet(), unet()),
        "one batch of two": lambda: work.prior.denoise(two, TIME, both),
        "one pass, at scale 1": unet,
    }
    choices["prompt"] = {"remembered": lambda: prompt, "asked anew": lambda: work.prior.embed("")}
    for part, rows in choices.items():
        if only in (None, part):
            around = {name: partial(change, work.prior, part) for name, change in ways.items() if name in rows}
            with torch.inference_mode():
                yield part, in_turn(rows, work.rounds, around=around)


@contextmanager
def _as_decided(prior: Prior, part: str) -> Iterator[None]:
    yield


@contextmanager
def taking(taken: bool, device: torch.device, only: str | None = None) -> Iterator[None]:
    """While it lasts, what a device may do otherwise than usual is done, or not, whatever was decided; or one alone."""
    running_there = running_on(device)
    decisions = [
        replace(each, taken=taken and only in (None, each.choice.otherwise)) for each in running_there.decisions
    ]
    decided = replace(running_there, decisions=tuple(decisions))
    with patch.object(running, "running_on", lambda device: decided):
        yield


@contextmanager
def _usual(prior: Prior, part: str) -> Iterator[None]:
    with taking(False, prior.device):
        yield


@contextmanager
def _only(choice: str, prior: Prior, part: str) -> Iterator[None]:
    with taking(True, prior.device, choice):
        yield


@contextmanager
def _contiguous(prior: Prior, part: str) -> Iterator[None]:
    with _weights(prior, part, lambda weight: weight.contiguous(memory_format=torch.contiguous_format)):
        yield


@contextmanager
def _in_float32(prior: Prior, part: str) -> Iterator[None]:
    nothing = patch("sdsr.prior.prior.computing", lambda *where: nullcontext())
    with _weights(prior, part, torch.Tensor.float), nothing:
        yield


def _ways(device: torch.device) -> Mapping[str, Callable[[Prior, str], AbstractContextManager[None]]]:
    """Return in what each part may run otherwise, each choice of the device's alone among them."""
    choices = [each.choice.otherwise for each in running_on(device).decisions]
    return {
        "as decided": _as_decided,
        "in the usual way": _usual,
        **{f"with {choice} alone": partial(_only, choice) for choice in choices},
        "contiguous": _contiguous,
        "float32": _in_float32,
    }


@contextmanager
def _weights(prior: Prior, part: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """While it lasts, a part's weights are changed; afterwards they are the very tensors that they were."""
    network = prior.modules["unet" if part == "unet" else "autoencoder"]
    before = [(parameter, parameter.data) for parameter in network.parameters()]
    try:
        for parameter, data in before:
            parameter.data = change(data)
        yield
    finally:
        for parameter, data in before:
            parameter.data = data


if __name__ == "__main__":
    main()
