"""What the records are computed from: a cut of a photo, pictures to learn from, published names. Knows no package."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image as pillow
from torch import Tensor
from torch.nn.functional import interpolate

VALUES = Path(__file__).with_name("values")
KEYS = Path(__file__).parents[1] / "golden" / "keys"
CROP = VALUES / "crop.png"


def crop() -> np.ndarray:
    """32 x 32 LQ pixels of a photo, 8-bit RGB; a file of its own, as sample photos are exchanged."""
    with pillow.open(CROP) as file:
        return np.asarray(file.convert("RGB"))


def picture(index: int) -> Tensor:
    """A picture (1, 3, 96, 128) in [0, 1] to train on: soft shapes with some texture, another for each index."""
    rng = torch.Generator().manual_seed(1000 + index)
    coarse = interpolate(torch.rand((1, 3, 6, 8), generator=rng), size=(96, 128), mode="bicubic")
    fine = interpolate(torch.randn((1, 1, 48, 64), generator=rng), size=(96, 128), mode="bilinear")
    return (coarse + 0.05 * fine).clamp(0, 1)


def published(format_name: str) -> dict[str, Tensor]:
    """A published checkpoint by its names and shapes; every tensor is full of its own number, and takes no memory.

    The numbers are those of the sorted names, from 1.
    """
    shapes = dict(SOURCES[format_name]())
    numbers = {name: number for number, name in enumerate(sorted(shapes), 1)}
    return {
        name: torch.full((1,) * len(shape), float(numbers[name]), dtype=torch.float64).expand(shape)
        for name, shape in shapes.items()
    }


Shapes = Iterator[tuple[str, list[int]]]


def _listed(file: str, prefix: str = "") -> Shapes:
    """Of a list "name [1, 2]", or "name" and "1x2" with a tab between."""
    for line in (KEYS / file).read_text().splitlines():
        if "\t" in line:
            name, shape = line.split("\t")
            yield prefix + name, [int(side) for side in shape.split("x")]
        else:
            name, shape = line.split(" ", 1)
            yield prefix + name, json.loads(shape)


def _osediff() -> Shapes:
    for line in (KEYS / "keys_osediff_lora.txt").read_text().splitlines():
        part, name, shape = line.split("\t")
        if shape != "module":
            yield f"{part}.{name}", [int(side) for side in shape.split("x")]


def _updates(rank: int, *, first_layer: bool) -> Shapes:
    """OSEDiff's updates of the UNet as other one-step generators name theirs, at their rank."""
    for name, shape in _osediff():
        if not name.startswith("state_dict_unet.") or ".lora_" not in name:
            continue
        layer, _, rest = name.removeprefix("state_dict_unet.").partition(".lora_")
        inner = rest.startswith("A")
        if layer != "conv_in" or first_layer:
            yield (
                f"{layer}.lora_{rest[0]}.default.weight",
                [rank, *shape[1:]] if inner else [shape[0], rank, *shape[2:]],
            )


def _d3sr() -> Shapes:
    yield from _updates(16, first_layer=True)
    yield "prompt", [77, 1024]


def _seesr() -> Shapes:
    yield from _listed("keys_seesr_unet.txt", "unet/")
    yield from _listed("keys_seesr_controlnet.txt", "controlnet/")


def _stablesr() -> Shapes:
    return _listed("keys_stablesr.txt")


SOURCES = {
    "consissr": lambda: _listed("keys_consissr.txt"),
    "stablesr": _stablesr,
    "stablesr-768v": _stablesr,
    "stablesr-turbo": _stablesr,
    "stablesr-cfw": lambda: _listed("keys_stablesr_cfw.txt"),
    "seesr": _seesr,
    "addsr": _seesr,
    "invsr": lambda: _listed("keys_invsr_noise_predictor.txt"),
    "d3sr": _d3sr,
    "osediff": _osediff,
    "hypir": lambda: _updates(256, first_layer=False),
}
"""The tagger of SeeSR and AddSR is in no list: its names are all missing, which is recorded too."""
