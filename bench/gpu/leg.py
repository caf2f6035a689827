"""What all legs share: the rate and its share of the card's peak, told early, and weights small enough to travel."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

SHARD_BYTES = 15 * 2**20
STATISTICS = 512
PEAKS_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L4": 121.0}
"""Dense bf16 products, as the makers state them."""


def write_shards(parts: Mapping[str, Mapping[str, Tensor]], folder: Path, *, limit: int = SHARD_BYTES) -> list[Path]:
    """Write tensors as `NAME-0.safetensors`, ..., none above `limit` bytes unless one tensor is.

    Parameters go in float16; what has at most `STATISTICS` values (statistics of latents, biases) stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, tensors in parts.items():
        for index, shard in enumerate(_packed(tensors, limit)):
            path = folder / f"{name}-{index}.safetensors"
            save_file(shard, path)
            paths.append(path)
    return paths


def _packed(tensors: Mapping[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    used = 0
    for key, tensor in tensors.items():
        half = tensor.detach().cpu().contiguous()
        half = half if half.numel() <= STATISTICS else half.half()
        size = half.numel() * half.element_size()
        if shards[-1] and used + size > limit * 0.98:  # room for the header
            shards.append({})
            used = 0
        shards[-1][key] = half
        used += size
    return shards


def measure_rate(step: Callable[[int], None], *, images: int, seconds: float, device: torch.device) -> dict[str, float]:
    """Do steps for some seconds; return images/s, FLOP per image and, on a known card, the share of its peak."""
    with FlopCounterMode(display=False) as counter:
        step(0)
    done = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        step(done + 1)
        done += 1
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    rate = done * images / (time.perf_counter() - began)
    flop = counter.get_total_flops() / images
    told = {"images_per_s": rate, "gflop_per_image": flop / 1e9}
    peak = peak_flops(device)
    return told | ({"share_of_peak": rate * flop / peak} if peak else {})


def describe(device: torch.device) -> str:
    """The card's name, or the processor's class."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()


def log_line(folder: Path, **facts: object) -> None:
    """Print a line of facts, and keep it in the leg's own log."""
    line = json.dumps(facts)
    print(line, flush=True)
    with (folder / "leg.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def peak_flops(device: torch.device) -> float | None:
    """Return the operations a second of dense bf16 products that a known card's makers state."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak * 1e12 for card, peak in PEAKS_TFLOPS.items() if card in name), None)
