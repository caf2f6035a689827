"""What is predicted of peak memory is what a method's tensors take, and what the process is measured to hold."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.memory import measured
from bench.running import taking
from bench.window_memory import Alive
from sdsr.diffusion.noise import CanvasNoise
from sdsr.methods import METHODS
from sdsr.prior.convolution import workspace_bytes
from sdsr.prior.facts import Facts
from sdsr.prior.loading import load_prior
from sdsr.prior.running import running_on
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.peak import LAYER_BYTES, Allocations, part_bytes, predict
from sdsr.restoration.plan import Plan

SIDE = 256
SMALL = ("d3sr-small", "consissr-small", "stablesr-small", "invsr-small", "seesr-small", "addsr-small")


@pytest.mark.parametrize("name", SMALL)
def test_a_method_needs_what_its_tensors_take(name: str) -> None:
    recipe = METHODS[name]
    assert recipe.method is not None
    assert recipe.plan is not None
    restorer = recipe.method.build("tiny")
    lq_image = LqImage.of(torch.rand(1, 3, SIDE // 4, SIDE // 4), (SIDE, SIDE), restorer.prior.multiple_px)
    noise = CanvasNoise(seeds=(0,))
    with torch.inference_mode():
        encoded = restorer.encode_lq(lq_image, None, noise)
        noisy = restorer.start(encoded, recipe.plan.start_time, noise)
        restorer.denoise(noisy, recipe.plan.times[0], encoded, recipe.plan.guidance)  # hint features are kept
        with taking(False, restorer.prior.device), Alive() as alive:
            restorer.denoise(noisy, recipe.plan.times[0], encoded, recipe.plan.guidance)
    said = restorer.facts(replace(recipe.plan, refinement=None)).bytes_per_px
    assert 0.7 * alive.most < said * SIDE**2 < 1.4 * alive.most


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells a peak that can be forgotten")
@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_a_process_holds_what_is_predicted(engine: str) -> None:
    """Wider than the 15 % that bench/memory.py keeps: libraries differ."""
    row = measured(0.5, ["--models", "d3sr-small", "--engine", engine], as_run=False)
    assert 0.8 < row["predicted"] / row["measured"] < 1.25, row


def test_what_counts_is_the_larger_of_window_and_part() -> None:
    facts = Facts(
        factor=8, channels=4, multiple_px=16, native_px=512, bytes_per_px=1000, part_px=1224, part_bytes_per_px=100
    )
    by = Allocations(once_bytes=7, window_workspace_bytes=5)
    small = predict(Canvas(), facts, (128, 128), (512, 512), window_px=512, by=by)
    assert small.whole == small.held + small.latents + small.window
    assert small.window == 512**2 * 1000 + 5
    assert small.latents == 4 * 4 * 4 * 64**2
    assert small.held - 7 == 128**2 * 16
    large = predict(Canvas(), facts, (1024, 1024), (4096, 4096), window_px=256, by=by)
    assert large.whole == large.held + large.decoding
    part = large.decoding - 4 * 4 * 512**2 - 3 * 4096**2
    assert part == part_bytes(facts, (4096, 4096)) > part_bytes(facts, (2048, 4096))


def test_of_a_large_picture_it_is_what_is_written() -> None:
    """The result, its file and what that is read back as: at most 12 bytes a pixel, with alpha."""
    facts = Facts(factor=8, channels=4, multiple_px=8, native_px=64, bytes_per_px=9, part_px=1024, part_bytes_per_px=9)
    peak = predict(Canvas(), facts, (1000, 1000), (8000, 8000), window_px=64, pixel_bytes=4)
    assert peak.whole == peak.held + 8000**2 * 12


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processors that multiply bfloat16 compute in it, and by no products."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    running_on.cache_clear()
    yield
    running_on.cache_clear()


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("name", ["d3sr-small", "addsr-small"])
def test_a_workspace_counts_where_convolutions_are_products(name: str) -> None:
    method = METHODS[name].method
    assert method is not None
    restorer = method.build("small")
    with taking(True, restorer.prior.device):
        products = restorer.allocations()
    with taking(False, restorer.prior.device):
        direct = restorer.allocations()
    assert products.window_workspace_bytes == workspace_bytes(160, 320, torch.float32)
    assert direct.window_workspace_bytes == direct.part_workspace_bytes == products.part_workspace_bytes == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_part_needs_what_its_tensors_take(dtype: torch.dtype, mixed: bool) -> None:
    """Pictures are in float32 in any precision; between its ends, a decoder holds what one of them painted."""
    method = METHODS["stablesr-small"].method
    assert method is not None
    restorer = method.build(load_prior("small", dtype=dtype))
    plan = Plan(times=(0,), fidelity=0.5 if mixed else 0.0)
    cells = SIDE // restorer.factor
    latent = torch.zeros(1, restorer.channels, cells, cells)
    lq_image = LqImage.of(torch.rand(1, 3, SIDE // 4, SIDE // 4), (SIDE, SIDE), restorer.factor)
    with torch.inference_mode(), taking(False, restorer.prior.device), Alive() as alive:
        restorer.decode(latent, lq_image, fidelity=plan.fidelity)
    assert 1 / 1.05 < restorer.facts(plan).part_bytes_per_px * SIDE**2 / alive.most < 1.05


def test_what_is_decoded_between_steps_counts_as_a_window() -> None:
    recipe = METHODS["addsr-small"]
    restorer = recipe.restoring.build("small")
    plan = recipe.restoring.own_plan
    assert plan.refinement is not None
    facts, once = restorer.facts(plan), restorer.facts(replace(plan, refinement=None))
    assert facts.bytes_per_px == restorer.prior.facts.part_bytes_per_px > once.bytes_per_px


def test_each_layer_counts_once_where_kernels_are_compiled_for_it() -> None:
    method = METHODS["d3sr-small"].method
    assert method is not None
    by = {
        dtype: method.build(load_prior("small", dtype=dtype)).allocations() for dtype in (torch.float32, torch.bfloat16)
    }
    layers = (by[torch.bfloat16].once_bytes - by[torch.float32].once_bytes) / LAYER_BYTES
    assert layers == 79
