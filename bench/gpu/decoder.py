"""The default's decoder on a GPU: stage decoder (a teacher) or detail (a teacher, photos, a discriminator).

python -m bench.gpu.decoder --stage detail --teacher real-esrgan-x4plus.safetensors --photos SHARD.tar ... \\
    --begin sdsr/assets/d3sr-small --to OUT --minutes 8 [--validation VAL.tar] [--compile]
python -m bench.gpu.decoder --rehearse ...      the same on the CPU, on the tiny prior, for seconds

Photos are decoded once into the card's memory; crops, degradation and teacher run there, in the step. The leg tells its
rate after a few seconds, trains for the given minutes, annealed to their end, and leaves in OUT: `weights/` (float16,
shards of at most 15 MiB), `run/` (scalars, sheets, checkpoints; the same command goes on from there), `leg.jsonl`.
A second leg begins where the first ended with `--begin OUT/run/parts`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from bench.gpu.leg import describe, log_line, measure_rate, write_shards
from sdsr.data.degradation import degradation
from sdsr.data.photos import open_photos
from sdsr.losses.real_esrgan import load_real_esrgan
from sdsr.methods.one_step.decoding import Decoding
from sdsr.methods.one_step.recipes import D3SR_SMALL
from sdsr.methods.one_step.small import DECODER
from sdsr.methods.recipe import Stage
from sdsr.objectives.restorer_step import RestorerStep
from sdsr.prior.loading import choose_device, choose_dtype
from sdsr.training.device_source import DeviceSource, photos_on
from sdsr.training.launch import load_parts
from sdsr.training.run import RunSettings
from sdsr.training.samples import validation_samples
from sdsr.training.trainer import train

STEPS = 10_000_000  # the minutes end a leg


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    device = torch.device("cpu") if options.rehearse else choose_device()
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(options.seed)
    options.to.mkdir(parents=True, exist_ok=True)
    stage = _stage(options)
    training_step = _training_step(stage, options, device)
    source = _source(stage, options, device)
    log_line(options.to, device=describe(device), stage=stage.name, photos=len(source.photos), minutes=options.minutes)
    log_line(options.to, **_rate(training_step, source, options, device))
    validation = []
    if options.validation:
        validation = validation_samples(open_photos(options.validation), stage, crop_px=options.validation_px, limit=16)
    run = RunSettings(
        folder=options.to / "run",
        steps=STEPS,
        minutes=options.minutes,
        save_every_s=60.0,
        validate_every=options.validate_every,
        seed=options.seed,
        compile=options.compile,
    )
    precision = "bf16" if choose_dtype(device) == torch.bfloat16 else "no"
    facts = {"recipe": D3SR_SMALL.name, "stage": f"{stage.name} on an accelerator, batch {stage.batch}", "seed": 0}
    parts = train(training_step, stage, source, validation, run, metadata=facts, mixed_precision=precision)
    paths = write_shards({DECODER: load_file(parts / f"{DECODER}.safetensors")}, options.to / "weights")
    log_line(options.to, weights=[path.name for path in paths], bytes=[path.stat().st_size for path in paths])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=["decoder", "detail"], required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--begin", type=Path, help="folder of parts; the prior's own and a fresh decoder without it")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--validation-px", type=int, default=256)
    parser.add_argument("--validate-every", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--crop-px", type=int, default=192)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate-seconds", type=float, default=20.0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rehearse", action="store_true")
    return parser


def _stage(options: argparse.Namespace) -> Stage:
    """The recipe's stage, with crops of the leg's size and as many of them as suit the card."""
    stage = D3SR_SMALL.stage(options.stage)
    objective = replace(stage.objective, crop_px=options.crop_px)  # type: ignore[type-var]
    return replace(stage, objective=objective, batch=options.batch, crop_px=options.crop_px)


def _training_step(stage: Stage, options: argparse.Namespace, device: torch.device) -> RestorerStep:
    restorer = stage.build("tiny" if options.rehearse else "small", device)
    if options.begin is not None:
        load_parts(dict(restorer.parts.modules.items()), [options.begin])
    assert isinstance(stage.objective, Decoding), "the leg's stages train the decoder"
    return stage.objective.training_step(restorer, stage.discriminator(restorer) if stage.discriminator else None).to(
        device
    )


def _source(stage: Stage, options: argparse.Namespace, device: torch.device) -> DeviceSource:
    dtype = choose_dtype(device)
    teacher = load_real_esrgan(options.teacher)
    teacher.to(device=device, dtype=dtype)
    teacher.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (missing in torch's stub)
    assert stage.degradation is not None, "the decoder's stages degrade"
    return DeviceSource(
        photos=photos_on(device, open_photos(options.photos), options.crop_px),
        degradation=degradation(stage.degradation),
        crop_px=options.crop_px,
        batch=options.batch,
        seed=options.seed,
        teacher=teacher,
        dtype=dtype,
    )


def _rate(
    training_step: RestorerStep, source: DeviceSource, options: argparse.Namespace, device: torch.device
) -> dict[str, float]:
    """What steps take before the run begins; their gradients are dropped."""
    rng = torch.Generator().manual_seed(0)

    def step(number: int) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=choose_dtype(device) == torch.bfloat16):
            loss = training_step(source(number), rng).loss
        loss.backward()
        training_step.zero_grad(set_to_none=True)

    return measure_rate(step, images=options.batch, seconds=options.rate_seconds, device=device)


if __name__ == "__main__":
    main()
