"""Small methods on a GPU, leg after leg: the default, and the others.

python -m bench.gpu.legs --teacher real-esrgan-x4plus.safetensors --photos SHARD.tar ... --to OUT \\
    --legs whole=5 nearer=0.5 [--validation VAL.tar]
python -m bench.gpu.legs --rehearse ...      the same on the CPU, for seconds

A leg is a stage of a recipe, for so many minutes, annealed to their end. It stands on those before it, of this command
or of an earlier one with the same `--to`; a leg that is named again goes on where it was stopped. `whole` and `nearer`
train the embedded default on, from the weights in the package. Photos are decoded
once into the card's memory; crops, degradation and teacher run there, in the step. Each leg tells its rate after some
seconds, and leaves its run in OUT/LEG/run (scalars, sheets, checkpoints); OUT/weights has the parts trained so far in
float16, in shards of at most 15 MiB.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from bench.gpu.device_source import DeviceSource, photos_on
from bench.gpu.leg import describe, log_line, measure_rate, write_shards
from sdsr.data.degradation import degradation
from sdsr.data.photos import open_photos
from sdsr.losses.real_esrgan import load_real_esrgan
from sdsr.methods.addsr.recipes import ADDSR_SMALL, SEESR_SMALL
from sdsr.methods.consissr.recipes import CONSISSR_SMALL
from sdsr.methods.invsr.recipes import INVSR_SMALL
from sdsr.methods.one_step.recipes import D3SR_SMALL
from sdsr.methods.recipe import Recipe, Stage
from sdsr.methods.stablesr.recipes import STABLESR_SMALL
from sdsr.objectives.training_step import Sample, TrainingStep
from sdsr.prior.loading import choose_device, choose_dtype
from sdsr.training.launch import load_parts
from sdsr.training.run import RunSettings
from sdsr.training.samples import validation_samples
from sdsr.training.trainer import train

STEPS = 10_000_000  # the minutes end a leg


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A stage, the parts that it begins with (a folder below OUT, or here), and what the card takes of it at once."""

    recipe: Recipe
    stage: str
    begin: str = ""
    batch: int
    ema_decay: float = 0.998


LEGS: Mapping[str, Leg] = {
    "whole": Leg(recipe=D3SR_SMALL, stage="whole", begin="sdsr/assets/d3sr-small", batch=32),
    "nearer": Leg(recipe=D3SR_SMALL, stage="faithful", begin="whole/run/parts", batch=48),
    "rclip": Leg(recipe=CONSISSR_SMALL, stage="rclip", batch=128),
    "consissr": Leg(recipe=CONSISSR_SMALL, stage="restoration", begin="rclip/run/parts", batch=64),
    "stablesr": Leg(recipe=STABLESR_SMALL, stage="modulation", batch=64),
    "seesr": Leg(recipe=SEESR_SMALL, stage="restoration", batch=64),
    "invsr": Leg(recipe=INVSR_SMALL, stage="inversion", batch=64),
    "realism": Leg(recipe=INVSR_SMALL, stage="realism", begin="invsr/run/parts", batch=48),
    "addsr": Leg(recipe=ADDSR_SMALL, stage="distillation", begin="seesr/run/parts", batch=32),
}


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    device = torch.device("cpu") if options.rehearse else choose_device()
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(options.seed)
    options.to.mkdir(parents=True, exist_ok=True)
    photos = photos_on(device, open_photos(options.photos), options.crop_px)
    log_line(options.to, device=describe(device), photos=len(photos), legs=options.legs)
    teacher = _teacher(options.teacher, device)
    for name, minutes in (leg.split("=") for leg in options.legs):
        source = _source(LEGS[name], options, photos, teacher, choose_dtype(device))
        _run(name, float(minutes), source, options, device)
        _pack(options.to)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--legs", nargs="+", required=True, metavar="LEG=MINUTES")
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--validation-px", type=int, default=256)
    parser.add_argument("--validate-every", type=int, default=1000)
    parser.add_argument("--batch", type=int, help="of every leg; each has its own without it")
    parser.add_argument("--crop-px", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate-seconds", type=float, default=10.0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rehearse", action="store_true")
    return parser


def _stage(leg: Leg, options: argparse.Namespace) -> Stage:
    """The recipe's stage, with crops of the run's size and as many of them as suit the card."""
    stage = leg.recipe.stage(leg.stage)
    objective: Any = stage.objective
    if hasattr(objective, "crop_px"):
        objective = replace(objective, crop_px=options.crop_px)
    return replace(
        stage,
        objective=objective,
        batch=options.batch or leg.batch,
        crop_px=options.crop_px,
        ema_decay=leg.ema_decay,
    )


def _teacher(path: Path, device: torch.device) -> nn.Module:
    teacher = load_real_esrgan(path)
    teacher.to(device=device, dtype=choose_dtype(device))
    teacher.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (missing in torch's stub)
    return teacher


def _source(
    leg: Leg, options: argparse.Namespace, photos: list[torch.Tensor], teacher: nn.Module, dtype: torch.dtype
) -> DeviceSource:
    stage = _stage(leg, options)
    return DeviceSource(
        photos=photos,
        degradation=degradation(stage.degradation) if stage.degradation else None,
        crop_px=stage.crop_px,
        batch=stage.batch,
        seed=options.seed,
        teacher=teacher if stage.taught else None,
        dtype=dtype,
    )


def _run(name: str, minutes: float, source: DeviceSource, options: argparse.Namespace, device: torch.device) -> None:
    leg = LEGS[name]
    stage = _stage(leg, options)
    training_step = _training_step(leg, stage, options, device)
    folder = options.to / name
    rate = _rate(training_step, source, options, device) if options.rate_seconds else {}
    log_line(options.to, leg=name, minutes=minutes, batch=stage.batch, **rate)
    validation = []
    if options.validation:
        validation = validation_samples(open_photos(options.validation), stage, crop_px=options.validation_px, limit=16)
    run = RunSettings(
        folder=folder / "run",
        steps=STEPS,
        minutes=minutes,
        save_every_s=120.0,
        validate_every=options.validate_every,
        seed=options.seed,
        compile=options.compile,
    )
    precision = "bf16" if choose_dtype(device) == torch.bfloat16 else "no"
    facts = {
        "recipe": leg.recipe.name,
        "stage": f"{stage.name} on an accelerator, batch {stage.batch}",
        "seed": options.seed,
        "minutes": minutes,
    }
    train(training_step, stage, source, validation, run, metadata=facts, mixed_precision=precision)


def _training_step(leg: Leg, stage: Stage, options: argparse.Namespace, device: torch.device) -> TrainingStep:
    built = stage.build("small", device)
    if leg.begin:
        below = options.to / leg.begin
        load_parts(dict(built.parts.modules.items()), [below if below.is_dir() else Path(leg.begin)])
    discriminator = stage.discriminator(built) if stage.discriminator else None
    training_step: Any = stage.objective.training_step(built, discriminator)
    return training_step.to(device)


def _rate(
    training_step: TrainingStep, source: Callable[[int], Sample], options: argparse.Namespace, device: torch.device
) -> dict[str, float]:
    """What steps take before the run begins; their gradients are dropped."""
    rng = torch.Generator().manual_seed(0)
    images = len(source(0).hq)
    if training_step.discriminator is not None:
        training_step.discriminator.to(device)

    def step(number: int) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=choose_dtype(device) == torch.bfloat16):
            outcome = training_step(source(number), rng, 1.0)
            loss = outcome.loss
            if training_step.discriminator is not None and outcome.record is not None:
                loss = loss + training_step.discriminator(outcome.record.detached(), rng).loss
        loss.backward()
        for module in (training_step, training_step.discriminator):
            if isinstance(module, nn.Module):
                module.zero_grad(set_to_none=True)

    return measure_rate(step, images=images, seconds=options.rate_seconds, device=device)


def _pack(to: Path) -> None:
    """Write the parts that there are so far as few small files."""
    written: list[Path] = []
    for name in LEGS:
        folder = to / name / "run/parts"
        found = {path.stem: load_file(path) for path in sorted(folder.glob("*.safetensors"))}
        flat = {f"{part}/{key}": tensor for part, tensors in found.items() for key, tensor in tensors.items()}
        written += write_shards({name: flat}, to / "weights") if flat else []
    log_line(to, weights={path.name: path.stat().st_size for path in written})


if __name__ == "__main__":
    main()
