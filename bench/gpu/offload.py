"""What a card holds of a full-size method in the three ways to have weights on it, and what each takes.

python -m bench.gpu.offload --predict [--methods d3sr consissr ...] [--json FILE]      counted anywhere, in seconds
python -m bench.gpu.offload --methods d3sr [--sides 128 256] [--repeats 3]             measured on a card
python -m bench.gpu.offload --rehearse                                                 the same on the CPU, small

Weights are random and in bfloat16, as of exported methods. What is predicted is what must be free for windows and tiles
of such a size, with the margin of `sdsr/restoration/peak.py`; measured is the most that was allocated while a photo was
restored four times enlarged, and the seconds of a photo after one to warm up. Leaves with 1 where a measured peak is
larger than the predicted one.
"""

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.full_size import random_restorer
from bench.gpu.leg import describe
from bench.measuring import table, timed, write_json
from bench.random_weights import store
from sdsr.methods import METHODS
from sdsr.methods.recipe import Recipe
from sdsr.photos.photo import Photo
from sdsr.prior.facts import Offload
from sdsr.prior.loading import choose_device
from sdsr.prior.prior import AUTOENCODER
from sdsr.prior.shapes import shape_prior
from sdsr.request import Request
from sdsr.restoration.peak import on_accelerator, part_bytes
from sdsr.restoration.placing import move, offloading, weigh
from sdsr.restoration.restorer import Restorer
from sdsr.restoration.window_sizes import most_window_px
from sdsr.upscaling import Upscaler

WAYS: tuple[Offload, ...] = ("none", "model", "sequential")
FULL_SIZE = ("d3sr", "invsr", "stablesr", "seesr", "consissr")
TILES_PX = (512, 1024)
GIB = 2**30
REQUEST = Request(scale=4)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS))
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 256], help="of photos, in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--predict", action="store_true")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if options.predict:
        rows = [row for name in options.methods or FULL_SIZE for row in predicted(METHODS[name])]
    else:
        rows = _measured(options)
    write_json(options.json, {"rows": rows})
    sys.exit(any("peak" in row and row["peak"] > row["needs"] for row in rows))


def predicted(recipe: Recipe) -> list[dict[str, Any]]:
    """Print and return what a card must have free in each way, for tiles of some sides; counted on "meta"."""
    assert recipe.method is not None
    prior = shape_prior(recipe.prior, image_encoder=False)
    with torch.device("meta"):  # what the method adds is not made elsewhere first
        restorer = recipe.method.build(prior)
    for module in (*restorer.prior.modules.values(), restorer.prior.network):
        store(module, torch.bfloat16)
    restorer = replace(restorer, prior=restorer.prior.adapted(dtype=torch.bfloat16))
    weights = weigh(restorer)
    found = needs_of(recipe, restorer)
    parts = ", ".join(f"{name} {amount / GIB:.2f}" for name, amount in weights.parts.items() if amount)
    print(f"{recipe.name}: weights {weights.whole / GIB:.2f} GiB; {parts}; always there {weights.staying / GIB:.3f}")
    rows = [[tile_px, *(f"{found[way, tile_px] / GIB:.2f}" for way in WAYS)] for tile_px in TILES_PX]
    print(table(["tiles, px", *(f"{way}, GiB" for way in WAYS)], rows) + "\n", flush=True)
    return [
        {"method": recipe.name, "tile_px": tile_px, "offload": way, "needs": need}
        for (way, tile_px), need in found.items()
    ]


def needs_of(recipe: Recipe, restorer: Restorer) -> dict[tuple[Offload, int], int]:
    """Return what a card must have free, by the way and the side of tiles."""
    facts = restorer.facts(recipe.plan)
    window = facts.bytes_per_px * most_window_px(recipe.canvas, facts) ** 2
    weights = weigh(restorer)
    found = {}
    for tile_px in TILES_PX:
        part = part_bytes(facts, (1 << 20, 1 << 20), tile_px)
        needs = on_accelerator(weights, {restorer.prior.backbone.name: window, AUTOENCODER: part})
        found |= {(way, tile_px): need for way, need in needs.items()}
    return found


def measured(
    recipe: Recipe, upscaler: Upscaler, options: argparse.Namespace, device: torch.device
) -> list[dict[str, Any]]:
    """Restore photos in each way; print and return what that took, beside what was predicted."""
    rows = []
    needs = needs_of(recipe, upscaler.restorer)
    for way in WAYS:
        place(upscaler, device, way)
        for side in options.sides:
            photo = Photo(pixels=np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8))
            upscaler.upscale(photo, REQUEST)  # to warm up
            forget_peak(device)
            seconds = [timed(lambda photo=photo: upscaler.upscale(photo, REQUEST))[0] for _ in range(options.repeats)]
            needed = needs[way, TILES_PX[-1]]
            row = {"method": recipe.name, "offload": way, "side": side, "needs": needed, "peak": peak(device)}
            rows.append(row | {"seconds": statistics.median(seconds)})
    heads = ["method", "photo, px", "weights there", "predicted GiB", "measured GiB", "s"]
    cells = [
        [
            row["method"],
            row["side"],
            row["offload"],
            f"{row['needs'] / GIB:.2f}",
            f"{row['peak'] / GIB:.2f}",
            row["seconds"],
        ]
        for row in rows
    ]
    print(table(heads, cells) + "\n", flush=True)
    return rows


def place(upscaler: Upscaler, device: torch.device, way: Offload) -> None:
    """Have the weights on the device in this way; on the CPU by the same hooks, which `sdsr` refuses there."""
    if device.type != "cpu":
        upscaler.place(device, way)
        return
    move(upscaler.restorer, device)
    if way != "none":
        offloading(upscaler.restorer, device, by_layer=way == "sequential").attach()


def forget_peak(device: torch.device) -> None:
    """Let `peak` count from here on."""
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()
        torch.get_device_module(device).reset_peak_memory_stats(device)


def peak(device: torch.device) -> int:
    """Return the most that was allocated on the device; nothing is told of the CPU."""
    return 0 if device.type == "cpu" else torch.get_device_module(device).max_memory_allocated(device)


def _measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    device = torch.device("cpu") if options.rehearse else choose_device()
    print(f"{describe(device)}\n", flush=True)
    rows = []
    for name in options.methods or (("d3sr-small",) if options.rehearse else FULL_SIZE):
        recipe = METHODS[name]
        prior = "tiny" if options.rehearse else recipe.prior
        restorer = random_restorer(recipe, prior, torch.float32 if options.rehearse else torch.bfloat16)
        rows += measured(recipe, Upscaler(recipe, restorer), options, device)
    return rows


if __name__ == "__main__":
    main()
