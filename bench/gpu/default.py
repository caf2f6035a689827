"""The default trained on, on a GPU: its stage `whole` as one CUDA graph per step, photos degraded anew in each.

python -m bench.gpu.default --teacher real-esrgan-x4plus.safetensors --photos SHARD.tar ... --to OUT --seconds 300 \\
    [--branch NAME=SECONDS[,TERM=WEIGHT,...]] ...
python -m bench.gpu.default --rehearse ...      the same on the CPU, uncaptured

It begins with the weights in the package, and trains at a constant rate for `--seconds`. From what that leaves each
branch is annealed, with weights of its own for terms of `captured_step.WEIGHTS`; OUT/NAME-*.safetensors are its
averaged parts in float16. Batches are made by a thread on a stream of its own, while the card computes.
`--profile` tells what one step's time goes to, and trains nothing.
"""

import argparse
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from queue import Queue

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.gpu.captured_step import OFFSETS_PX, WEIGHTS, Batch, DefaultStep
from bench.gpu.captured_training import CapturedTraining
from bench.gpu.device_source import DeviceSource, photos_on
from bench.gpu.leg import describe, log_line, peak_flops, write_shards
from sdsr.data.degradation import degradation
from sdsr.data.photos import open_photos
from sdsr.losses.efficientnet import load_efficientnet_lite
from sdsr.losses.real_esrgan import load_real_esrgan
from sdsr.methods.one_step.recipes import D3SR_SMALL
from sdsr.objectives.pairs import lq_image_of
from sdsr.prior.loading import choose_device
from sdsr.restoration.restorer import Restorer
from sdsr.training.launch import load_parts

TABLES = ("camera", "compressed", "photo")
"""Which degradation each next batch has."""

_AHEAD = 3  # batches that wait
_TOLD_EVERY = 25


@dataclass(frozen=True, slots=True)
class Branch:
    """How the run ends: for so long, with these weights."""

    name: str
    seconds: float
    weights: Mapping[str, float]

    @classmethod
    def parse(cls, text: str) -> "Branch":
        (name, seconds), *changes = (part.split("=") for part in text.split(","))
        weights = {term: float(weight) for term, weight in changes}
        assert weights.keys() <= WEIGHTS.keys(), f"terms are {', '.join(WEIGHTS)}"
        return cls(name, float(seconds), weights)


class Batches:
    """Batches in turn from each table, each ready on the card by the event that comes with it."""

    def __init__(self, restorer: Restorer, photos: list[torch.Tensor], options: argparse.Namespace) -> None:
        self.restorer = restorer
        self.device = restorer.prior.device
        self.sources = [
            DeviceSource(
                photos=photos,
                degradation=degradation(table),
                crop_px=options.crop_px,
                batch=options.batch,
                seed=options.seed + index,
            )
            for index, table in enumerate(TABLES)
        ]
        self.ready: Queue[tuple[Batch, torch.Event | None] | Exception] = Queue(_AHEAD)
        self.stopped = threading.Event()

    @torch.no_grad()
    def made(self, number: int) -> Batch:
        sample = self.sources[number % len(self.sources)](number)
        assert sample.lq is not None, "these sources degrade"
        enlarged = lq_image_of(self.restorer, sample).enlarged().to(self.device)
        return Batch(hq=sample.hq, lq=sample.lq, enlarged=enlarged, latent=self.restorer.prior.encode(enlarged).float())

    def _fill(self) -> None:
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        number = 0
        try:
            while not self.stopped.is_set():
                with torch.cuda.stream(stream) if stream else nullcontext():
                    batch = self.made(number)
                self.ready.put((batch, stream.record_event() if stream else None))
                number += 1
        except Exception as error:  # told to who waits
            self.ready.put(error)

    def __iter__(self) -> Iterator[Batch]:
        threading.Thread(target=self._fill, daemon=True).start()
        while True:
            found = self.ready.get()
            if isinstance(found, Exception):
                raise found
            batch, event = found
            if event is not None:
                current = torch.cuda.current_stream(self.device)
                current.wait_event(event)
                for each in fields(batch):
                    getattr(batch, each.name).record_stream(current)
            yield batch


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    device = torch.device("cpu") if options.rehearse else choose_device()
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(options.seed)
    options.to.mkdir(parents=True, exist_ok=True)
    photos = photos_on(device, open_photos(options.photos), options.crop_px)
    restorer = D3SR_SMALL.stage("whole").build(str(options.prior), device)
    load_parts(dict(restorer.parts.modules.items()), [options.begin])
    batches = Batches(restorer, photos, options)
    first = batches.made(0)
    step = DefaultStep(
        restorer, load_real_esrgan(options.teacher), load_efficientnet_lite("lite1", options.network)
    ).to(device)
    if device.type == "cuda":
        step.teacher.bfloat16()
    if options.channels_last:
        step.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (missing in torch's stub)
    log_line(options.to, device=describe(device), photos=len(photos), batch=options.batch, weights=WEIGHTS)
    offsets = np.random.default_rng(0).integers(OFFSETS_PX, size=(options.offsets, 2)).tolist()
    training = CapturedTraining(step, first, [tuple(each) for each in offsets], rate=options.rate)
    with FlopCounterMode(display=False) as counter:
        training.once((0, 0))
    flop = counter.get_total_flops() / options.batch
    if options.profile:
        _profile(training, batches, options.repeats)
    training.capture()
    _tell_rate(training, flop, options)
    if not options.profile:
        _train(training, batches, options)
    batches.stopped.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument(
        "--prior", default="small", help="the small prior, or a folder that has its encoder's linear path"
    )
    parser.add_argument(
        "--network", type=Path, help="EfficientNet-Lite1's file in its package's layout, for that package"
    )
    parser.add_argument("--begin", type=Path, default=Path("sdsr/assets/d3sr-small"))
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--branch", type=Branch.parse, nargs="*", default=[], metavar="NAME=SECONDS[,TERM=WEIGHT]")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--crop-px", type=int, default=256)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--offsets", type=int, default=6, help="places of the window, a graph each")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--rehearse", action="store_true")
    return parser


def _tell_rate(training: CapturedTraining, flop: float, options: argparse.Namespace) -> None:
    """Time steps on the batch at hand, without what makes batches."""
    training.rate.fill_(0.0)
    training.replay(0)
    training.wait()
    began = time.perf_counter()
    for index in range(options.repeats):
        training.replay(index)
    training.wait()
    rate = options.repeats * options.batch / (time.perf_counter() - began)
    peak = peak_flops(training.device)
    share = {"share_of_peak": rate * flop / peak} if peak else {}
    log_line(options.to, crops_per_s=rate, gflop_per_crop=flop / 1e9, **share)


def _profile(training: CapturedTraining, batches: Batches, repeats: int) -> None:
    """Print what the kernels of one step take, and how long a batch takes to be made."""
    training.once((0, 0))
    training.wait()
    began = time.perf_counter()
    for index in range(repeats):
        batches.made(index)
    training.wait()
    print(f"a batch is made in {(time.perf_counter() - began) / repeats * 1e3:.0f} ms", flush=True)
    began = time.perf_counter()
    training.once((0, 0))
    training.wait()
    print(f"a step uncaptured takes {(time.perf_counter() - began) * 1e3:.0f} ms", flush=True)
    with torch.profiler.profile() as profiler:
        training.once((0, 0))
        training.wait()
    order = "self_cuda_time_total" if training.device.type == "cuda" else "self_cpu_time_total"
    print(profiler.key_averages().table(sort_by=order, row_limit=40, max_name_column_width=70), flush=True)
    with torch.profiler.profile() as profiler:
        batches.made(0)
        training.wait()
    print(profiler.key_averages().table(sort_by=order, row_limit=12, max_name_column_width=70), flush=True)


def _train(training: CapturedTraining, batches: Batches, options: argparse.Namespace) -> None:
    found = iter(batches)
    _run(training, found, Branch("main", options.seconds, {}), options, falls=False)
    kept = training.state()
    for branch in options.branch:
        training.restore(kept)
        _run(training, found, branch, options, falls=True)
        _save(training, branch.name, options)
    if not options.branch:
        _save(training, "main", options)


def _run(
    training: CapturedTraining, found: Iterator[Batch], branch: Branch, options: argparse.Namespace, *, falls: bool
) -> None:
    training.weigh({**WEIGHTS, **branch.weights})
    rng = np.random.default_rng(options.seed)
    began = time.perf_counter()
    number = 0
    while (progress := (time.perf_counter() - began) / branch.seconds) < 1:
        warm = 1.0 if falls else min(1.0, (number + 1) / 50)
        training.rate.fill_(options.rate * warm * (0.5 + 0.5 * np.cos(np.pi * progress) if falls else 1.0))
        training.batch.take(next(found))
        training.replay(int(rng.integers(options.offsets)))
        number += 1
        if number % _TOLD_EVERY == 0:
            told = training.told()
            spent = time.perf_counter() - began
            if number % (8 * _TOLD_EVERY) == 0:
                values = {name: round(value, 4) for name, value in told.items()}
                log_line(
                    options.to, part=branch.name, step=number, crops_per_s=number * options.batch / spent, **values
                )
    training.wait()
    log_line(options.to, part=branch.name, steps=number, seconds=time.perf_counter() - began)


def _save(training: CapturedTraining, name: str, options: argparse.Namespace) -> None:
    """Write the averaged parts in few small files."""
    with training.averaged():
        parts: dict[str, nn.Module] = {"unet": training.step.unet, "decoder": training.step.decoder}
        flat = {
            f"{part}/{key}": tensor for part, module in parts.items() for key, tensor in module.state_dict().items()
        }
        written = write_shards({name: flat}, options.to)
    log_line(options.to, weights={path.name: path.stat().st_size for path in written})


if __name__ == "__main__":
    main()
