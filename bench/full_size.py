"""One restoration at full size with random weights, 128 -> 512 px unless told otherwise: what it takes of this machine.

python bench/full_size.py METHOD [--steps 3] [--dtype float32] [--stock-dtype float32] [--size 128] [--scale 4]
    [--tiny-decoder] [--json FILE]

Ours computes in what this machine decides, unless told. A published architecture needs no weights here; the time of a
step doesn't depend on them. Only the first `--steps` of the plan are run; the last column but one is what the whole
plan would take. Then the steps are run again, in turn with stock diffusers: its UNet, and its ControlNet where the
method has one, eager, with as many passes for each step; so is what is around the steps, where stock encodes and
decodes with its own VAE. Last come a whole photo by both, and what its operations take at the rates at which this
machine multiplies large matrices, and convolves large maps. The stock dtype of float32 is what diffusers does unless it
is told otherwise. `--tiny-decoder` puts a row beside them that decodes by TAESD's architecture. On a busy machine,
compare processor time.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.measuring import heading, in_turn, machine, timed, write_json
from bench.random_weights import random_prior, randomize, store
from sdsr.diffusion.noise import CanvasNoise
from sdsr.methods import METHODS
from sdsr.methods.recipe import Recipe
from sdsr.prior.loading import load_prior
from sdsr.prior.running import choose_dtype, lay_out
from sdsr.prior.shapes import SHAPES
from sdsr.prior.stable_diffusion import PublishedLatents
from sdsr.prior.tiny_decoder import TinyDecoder, decoded_by
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.restorer import EncodedLq, Restorer
from sdsr.studies.complexity import complexity
from sdsr.tensors import Latent

CPU = torch.device("cpu")
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
HINT_FACTOR = 8
MATRIX_SIDE = 4096
CHANNELS = 256
MAP_SIDE = 256
"""Of the convolution by whose rate the operations are held: as of the decoder, whose share is the largest."""
TINY = "with a tiny decoder"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=sorted(METHODS))
    parser.add_argument("--prior", help="another prior than the method's own")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--dtype", choices=DTYPES, default=str(choose_dtype(CPU)).removeprefix("torch."))
    parser.add_argument("--stock-dtype", choices=[*DTYPES, "none"], default="float32")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--tiny-decoder", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    recipe = METHODS[arguments.method]
    told: dict[str, Any] = {"machine": machine(), "method": arguments.method}
    began = time.perf_counter()
    restorer = random_restorer(recipe, arguments.prior or recipe.prior, DTYPES[arguments.dtype])
    print(f"{recipe.name} on {restorer.prior.name}, {arguments.dtype}, {heading(machine())}")
    print(f"{arguments.size} px x {arguments.scale}, made in {time.perf_counter() - began:.1f} s\n")
    step, around = _restored(recipe, restorer, arguments.size, arguments.scale, steps=arguments.steps)
    if arguments.stock_dtype != "none":
        dtype, stock_name = DTYPES[arguments.stock_dtype], f"diffusers, {arguments.stock_dtype}"
        stock = _stock(recipe, restorer, dtype, cells=arguments.size * arguments.scale // 8)
        medians = _compare("one step", {recipe.name: step, stock_name: stock}, arguments.steps)
        stock_around = _stock_around(restorer, dtype, arguments.size * arguments.scale)
        arounds = {recipe.name: around, stock_name: stock_around}
        if arguments.tiny_decoder:
            arounds = {TINY: _tiny_around(restorer, arguments.size * arguments.scale), **arounds}
        rest = _compare("around the steps", arounds, arguments.steps)
        assert recipe.plan is not None
        medians |= {TINY: medians[recipe.name]}
        whole = {name: seconds + len(recipe.plan.times) * medians[name] for name, seconds in rest.items()}
        told["photo"] = whole
        _print_ratios(f"one photo, {len(recipe.plan.times)} steps", whole)
    told |= _print_limit(recipe, arguments.prior, DTYPES[arguments.dtype], arguments.size, arguments.scale)
    write_json(arguments.json, told)


def random_restorer(recipe: Recipe, prior: str, dtype: torch.dtype, device: torch.device = CPU) -> Restorer:
    """The method with all its weights in `dtype`, as exported ones are; random where the architecture is published.

    They are drawn on the device.
    """
    if prior in SHAPES:  # without an image encoder: a method that needs one leaves a blank one of its own to be filled
        made = random_prior(prior, device=device, dtype=dtype)
    else:
        made = load_prior(prior, device=device, dtype=dtype)
    with device if device.type != "cpu" else nullcontext():
        restorer = recipe.restoring.build(made, device)
    for part in restorer.parts.modules.eval().values():
        store(part, dtype)
        if any(parameter.is_meta for parameter in part.parameters()):
            randomize(part, device, torch.Generator(device).manual_seed(0))
        lay_out(part, device)
    if restorer.parts.fuse is not None:
        restorer.parts.fuse()
    return restorer


def _restored(
    recipe: Recipe, restorer: Restorer, size: int, scale: int, *, steps: int
) -> tuple[Callable[[], Latent], Callable[[], object]]:
    """Restore a photo but for the steps that are left out, and print what it took.

    Return one step to repeat, and all that is around the steps.
    """
    plan, noise = recipe.plan, CanvasNoise(seeds=(0,))
    assert plan is not None
    multiple = restorer.prior.multiple_px
    lq_image = LqImage.of(torch.rand(1, 3, size, size), (size * scale, size * scale), multiple)
    with torch.inference_mode():
        (encoded, noisy), encoding = _timed(lambda: _started(restorer, lq_image, plan.start_time, noise))
        took = []
        clean = noisy
        for t, to in zip(plan.times[:steps], (*plan.times[1:], None), strict=False):
            clean, seconds = _timed(lambda t=t, noisy=noisy: restorer.denoise(noisy, t, encoded, plan.guidance))
            took.append(seconds)
            if to is not None:
                noisy = plan.step(restorer.schedule, noisy, clean, t, to, lambda like=clean: torch.randn_like(like))
        image, decoded = _timed(lambda: restorer.decode(clean, lq_image))
    assert image.isfinite().all(), "random weights were to keep signals finite"
    median = statistics.median(took)
    whole = encoding + len(plan.times) * median + decoded
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| encode s | step s, median of {len(took)} | decode s | {len(plan.times)} steps s | peak GiB |")
    print("|---|---|---|---|---|")
    print(f"| {encoding:.1f} | {median:.2f} | {decoded:.1f} | {whole:.0f} | {peak:.2f} |\n", flush=True)

    def around() -> None:
        _started(restorer, lq_image, plan.start_time, noise)
        restorer.decode(clean, lq_image)

    return lambda: restorer.denoise(noisy, plan.times[0], encoded, plan.guidance), around


def _started(restorer: Restorer, lq_image: LqImage, t: int, noise: CanvasNoise) -> tuple[EncodedLq, Latent]:
    encoded = restorer.encode_lq(lq_image, None, noise)
    return encoded, restorer.start(encoded, t, noise)


def _stock(recipe: Recipe, restorer: Restorer, dtype: torch.dtype, *, cells: int) -> Callable[[], object]:
    """As many passes of stock networks as the method's step has, all weights and tensors in `dtype`, no autocast."""
    config = restorer.prior.unet.config
    controlled = any(isinstance(part, ControlNetModel) for part in restorer.parts.modules.values())
    with init_empty_weights():
        unet: Any = UNet2DConditionModel.from_config(config)
        control = ControlNetModel.from_unet(unet, load_weights_from_unet=False) if controlled else None
    networks = nn.ModuleList([unet] if control is None else [unet, control]).eval().to(dtype)
    randomize(networks, "cpu", torch.Generator().manual_seed(0))
    networks.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (missing in torch's stub)
    noisy = torch.randn(1, config["in_channels"], cells, cells, dtype=dtype)
    told = restorer.prior.embed(restorer.parts.prompt or "").to(dtype)
    hint = torch.rand(1, 3, HINT_FACTOR * cells, HINT_FACTOR * cells, dtype=dtype)
    guided = recipe.plan is not None and recipe.plan.guidance != 1.0 and restorer.parts.negative_prompt is not None

    def passes() -> None:
        for _ in range(2 if guided else 1):
            skips, middle = (None, None) if control is None else control(noisy, 500, told, hint, return_dict=False)
            unet(noisy, 500, told, down_block_additional_residuals=skips, mid_block_additional_residual=middle)

    return passes


def _stock_around(restorer: Restorer, dtype: torch.dtype, side: int) -> Callable[[], object]:
    """A photo encoded and decoded by a stock VAE of the prior's shape."""
    assert isinstance(restorer.prior.autoencoder, PublishedLatents), "a prior of full size has a published autoencoder"
    with init_empty_weights():
        vae: Any = AutoencoderKL.from_config(restorer.prior.autoencoder.model.config)
    vae.eval().to(dtype)
    randomize(vae, "cpu", torch.Generator().manual_seed(0))
    vae.to(memory_format=torch.channels_last)
    photo = torch.rand(1, 3, side, side, dtype=dtype)
    return lambda: vae.decode(vae.encode(photo).latent_dist.mode())


def _tiny_around(restorer: Restorer, side: int) -> Callable[[], object]:
    """The same encoding, and decoding by a tiny decoder of random weights."""
    prior = decoded_by(restorer.prior, TinyDecoder(restorer.channels).to(restorer.prior.dtype))
    photo = torch.rand(1, 3, side, side)
    return lambda: prior.decode(prior.encode(photo))


def _compare(what: str, rows: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Time the rows in turn after a round to warm up, print their medians and return those of processor time."""
    with torch.inference_mode():
        timings = in_turn(rows, rounds)
    medians = {name: timing.cpu / torch.get_num_threads() for name, timing in timings.items()}
    _print_ratios(f"{what}, in turn, medians of {rounds}", medians)
    return medians


def _print_ratios(title: str, seconds: dict[str, float]) -> None:
    """Print the rows' seconds of processor time on each thread, and their ratios to the last."""
    last = list(seconds.values())[-1]
    print(f"| {title} | s | ratio |\n|---|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} | {value / last:.2f} |")
    print(flush=True)


def _print_limit(recipe: Recipe, prior: str | None, dtype: torch.dtype, size: int, scale: int) -> dict[str, float]:
    """Print a photo's counted operations, the rates of a large product and convolution, and the times that follow."""
    operations = 2 * complexity(recipe, prior, given_px=size, scale=scale).macs("image").total
    matrix = torch.rand(MATRIX_SIDE, MATRIX_SIDE, dtype=dtype)
    with torch.inference_mode():
        product = min(timed(lambda: matrix @ matrix)[1] for _ in range(5)) / torch.get_num_threads()
        maps = torch.rand(1, CHANNELS, MAP_SIDE, MAP_SIDE, dtype=dtype).contiguous(memory_format=torch.channels_last)
        layer = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, dtype=dtype).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        convolution = min(timed(lambda: layer(maps))[1] for _ in range(5)) / torch.get_num_threads()
    rates = {"product": 2 * MATRIX_SIDE**3 / product, "convolution": 2 * 9 * (CHANNELS * MAP_SIDE) ** 2 / convolution}
    for name, rate in rates.items():
        seconds = operations / rate
        print(f"{operations / 1e12:.2f} T operations at {rate / 1e9:.0f} G/s of a large {name}: {seconds:.1f} s")
    return {"operations": operations, **rates}


def _timed(run: Callable[[], object]) -> tuple:
    began = time.perf_counter()
    result = run()
    return result, time.perf_counter() - began


if __name__ == "__main__":
    main()
