"""A training step of each recipe's stage: images per second, and the share of this machine's rate of large products.

python bench/training_step.py [--stages d3sr-small/taught seesr-small/restoration ...] [--batch 4] [--rounds 3]
    [--json FILE]

A step is forward, backward and the optimizer's, on images of noise at the stage's own crop. Operations are counted by
torch (backward included); model FLOP utilization is their rate over that of a large product of matrices in the dtype
that the run takes, timed in the same turn. Without `--stages`, the first stage of each small recipe.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.measuring import heading, in_turn, machine, table, write_json
from sdsr.embedded.recipes import SMALL_AUTOENCODER, TINY_DECODER
from sdsr.methods import METHODS
from sdsr.methods.recipe import Recipe, Stage
from sdsr.objectives.training_step import Sample
from sdsr.prior.loading import choose_device, choose_dtype

MATRIX_SIDE = 2048
SMALL = ("d3sr-small", "consissr-small", "stablesr-small", "seesr-small", "invsr-small")
ALSO = {recipe.name: recipe for recipe in (SMALL_AUTOENCODER, TINY_DECODER)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", default=[*SMALL, *ALSO])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = choose_device()
    dtype = choose_dtype(device)
    matrix = torch.rand(MATRIX_SIDE, MATRIX_SIDE, dtype=dtype, device=device)
    told: dict[str, Any] = {"machine": machine(str(device)), "dtype": str(dtype), "rows": []}
    print(f"{heading(told['machine'])}, {told['dtype']}, batches of {arguments.batch}\n", flush=True)
    for name in arguments.stages:
        recipe, stage = found(name)
        step = prepared(recipe, stage, arguments.batch, device, dtype)
        with FlopCounterMode(display=False) as counter:
            step()
        timings = in_turn({"step": step, "product": lambda: matrix @ matrix}, arguments.rounds)
        rate = counter.get_total_flops() / timings["step"].cpu
        limit = 2 * MATRIX_SIDE**3 / timings["product"].cpu
        told["rows"].append(
            {
                "stage": f"{recipe.name}/{stage.name}",
                "crop px": stage.crop_px,
                "images/s": arguments.batch / timings["step"].wall,
                "images per processor s": arguments.batch / timings["step"].cpu,
                "GFLOP per image": counter.get_total_flops() / arguments.batch / 1e9,
                "utilization": rate / limit,
            }
        )
    print(table(list(told["rows"][0]), [list(row.values()) for row in told["rows"]]))
    write_json(arguments.json, told)


def found(name: str) -> tuple[Recipe, Stage]:
    """Return a stage by "recipe/stage", or the first of a recipe."""
    recipe_name, _, stage = name.partition("/")
    recipe = ALSO.get(recipe_name) or METHODS[recipe_name]
    return recipe, recipe.stage(stage) if stage else recipe.stages[0]


def prepared(recipe: Recipe, stage: Stage, batch: int, device: torch.device, dtype: torch.dtype) -> Callable[[], None]:
    """Return one training step, to repeat."""
    model = stage.build(recipe.prior or "small", device)
    training = stage.objective.training_step(model, None)
    rng = torch.Generator().manual_seed(0)
    hq = torch.rand(batch, 3, stage.crop_px, stage.crop_px, generator=rng).to(device)
    lq = torch.nn.functional.avg_pool2d(hq, 4)
    sample = replace(Sample(hq=hq), lq=lq if stage.degradation or stage.taught else None)
    sample = replace(sample, teacher=hq) if stage.taught else sample
    learning = [p for part in training.trainable_modules.values() for p in part.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=stage.optimizer.learning_rate)

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = training(sample, rng, 0.5).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


if __name__ == "__main__":
    main()
