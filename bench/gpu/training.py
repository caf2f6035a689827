"""A training step of full-size recipes on a card: images a second, and the share of a large product's measured rate.

python -m bench.gpu.training [--stages d3sr/generation consissr/restoration] [--batches 4 8] [--seconds 40]
    [--sdxl] [--json FILE]
python -m bench.gpu.training --rehearse       the same on the CPU, on the tiny prior

A step is all that a run does between two batches: losses of both sides, backward, clipping, AdamW; bf16 autocast over
frozen weights in bfloat16 and trained ones in float32, gradient checkpointing off. Weights are random, images noise
at the stage's crop. Operations are counted by torch, backward included. D3SR's discriminator is made of the prior's own
UNet, or with `--sdxl` of SDXL's, which the recipe names.
"""

import argparse
import gc
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.gpu.leg import peak_flops
from bench.gpu.rows import Rows, rates
from bench.measuring import heading, machine, table, write_json
from bench.random_weights import random_prior, randomize, store
from bench.training_step import found
from sdsr.discriminators.diffusion_unet import DiffusionDiscriminator
from sdsr.losses.adversarial import BCE
from sdsr.methods.one_step.recipes import NoisedDiscriminator
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.objectives.discriminator import Discriminator, Discriminators, NoisyLatents
from sdsr.objectives.training_step import Sample, TrainingStep
from sdsr.prior.loading import choose_device, load_prior
from sdsr.prior.running import lay_out
from sdsr.prior.shapes import blank_sdxl_unet
from sdsr.restoration.restorer import Restorer
from sdsr.training.optim import make_optimizer

NEEDS_S = 6.0
"""Left at least for a row to be begun."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", default=["d3sr/generation", "consissr/restoration"])
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--sdxl", action="store_true")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    device = torch.device("cpu") if options.rehearse else choose_device()
    rows = Rows(device=device, seconds=options.seconds, rounds=options.rounds, warm=1)
    told: dict[str, Any] = {"machine": machine(str(device)), "rows": rows.told}
    print(f"{heading(told['machine'])}\n", flush=True)
    measured = rows.attempt("rates", lambda: rates(device, torch.bfloat16, rehearse=options.rehearse)) or {}
    for name in options.stages:
        recipe, stage = found(name)
        if options.rehearse:
            stage = replace(stage, crop_px=64)
        made = rows.attempt(name, lambda recipe=recipe, stage=stage: _made(recipe, stage, device, options))
        for batch in options.batches:
            if made is not None:
                _row(name, made, stage, batch, rows, measured.get("product"))
        write_json(options.json, told)
        del made
        gc.collect()
    _print(rows)


def _made(recipe: Recipe, stage: Stage, device: torch.device, options: argparse.Namespace) -> TrainingStep:
    """The stage's training step on a prior of random weights, in training mode."""
    if options.rehearse:
        prior = load_prior("tiny")
    else:
        sees = recipe.name == "consissr"
        prior = random_prior(recipe.prior, device=device, dtype=torch.bfloat16, image_encoder=sees)
    if isinstance(stage.discriminator, NoisedDiscriminator):
        of_prior = NoisedDiscriminator(source="prior")
        stage = replace(stage, discriminator=_sdxl_discriminator if options.sdxl else of_prior)  # pyright: ignore
    with device:
        model = stage.build(prior, device)
        discriminator = stage.discriminator(model) if stage.discriminator else None
    training: Any = stage.objective.training_step(model, discriminator)
    return training.to(device).train()


def _row(name: str, training: TrainingStep, stage: Stage, batch: int, rows: Rows, product: float | None) -> None:
    def counted() -> dict[str, Any]:
        step = one_step(training, stage, batch, rows.device)
        step()  # what is made at the first step is no part of one
        with FlopCounterMode(display=False) as counter:
            step()
        return {"step": step, "flop": counter.get_total_flops()}

    made = rows.attempt(f"{name}, batch {batch}", counted, needs_s=NEEDS_S)
    if made is None:
        return
    row = rows.time(f"{name}, batch {batch}", {"step": made["step"]}, flop=made["flop"], batch=batch)
    if row is not None:
        seconds = row["ms"]["step"] / 1e3
        row |= {"images_per_s": batch / seconds, "flop_per_s": made["flop"] / seconds}
        stated = peak_flops(rows.device)
        row |= {"share_of_product": row["flop_per_s"] / product} if product else {}
        row |= {"share_of_peak": row["flop_per_s"] / stated} if stated else {}


def one_step(training: TrainingStep, stage: Stage, batch: int, device: torch.device) -> Callable[[], None]:
    """Return a step of both sides, to repeat."""
    rng = torch.Generator().manual_seed(0)
    hq = torch.rand(batch, 3, stage.crop_px, stage.crop_px, device=device)
    sample = Sample(hq=hq, lq=F.avg_pool2d(hq, 4) if stage.degradation else None)
    sides = [(stage.optimizer, _learning(training.trainable_modules.values()))]
    if training.discriminator is not None:
        sides.append((stage.discriminator_optimizer or stage.optimizer, _learning([training.discriminator])))
    optimizers = [make_optimizer(settings, learning) for settings, learning in sides]
    kind = device.type

    def step() -> None:
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            outcome = training(sample, rng, 1.0)
        outcome.loss.backward()
        _move(optimizers[0], *sides[0])
        if training.discriminator is not None and outcome.record is not None:
            with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
                judged = training.discriminator(outcome.record.detached(), rng)
            judged.loss.backward()
            _move(optimizers[1], *sides[1])

    return step


def _learning(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]


def _move(optimizer: torch.optim.Optimizer, settings: OptimizerSettings, learning: list[nn.Parameter]) -> None:
    nn.utils.clip_grad_norm_(learning, settings.clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _sdxl_discriminator(restorer: Restorer) -> Discriminators:
    """That of the recipe, whose UNet has random weights."""
    prior = restorer.prior
    unet = blank_sdxl_unet()
    store(unet, prior.dtype)
    randomize(unet, prior.device, torch.Generator(prior.device).manual_seed(0))
    nn.Module.to(unet, prior.device)
    network = DiffusionDiscriminator(lay_out(unet, prior.device)).to(prior.device)
    return Discriminators(Discriminator(network, NoisyLatents(prior.schedule), BCE, precision=prior.precision))


def _print(rows: Rows) -> None:
    done = [row for row in rows.told if "images_per_s" in row]
    cells = [
        [
            row["row"],
            row["ms"]["step"],
            row["images_per_s"],
            row["flop"] / row["batch"] / 1e12,
            row["flop_per_s"] / 1e12,
            row.get("share_of_product", float("nan")),
            row.get("share_of_peak", float("nan")),
            row["peak_bytes"] / 2**30,
        ]
        for row in done
    ]
    heads = ["step", "ms", "images/s", "TFLOP an image", "TFLOP/s", "of the product", "of the stated peak", "GiB"]
    print("\n" + table(heads, cells))


if __name__ == "__main__":
    main()
