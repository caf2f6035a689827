"""The second-order degradation of Real-ESRGAN (arXiv:2107.10833): what turns an HQ photo into a plausible LQ photo.

Each stage blurs, resizes, adds noise and compresses; the last resize, a sinc filter and the last JPEG come in random
order. The parameter sets of all methods are data, `degradations.json`, read with `degradation(name)`.
"""

import difflib
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from sdsr.array_api import full_precision
from sdsr.data.filters import filter2d, unsharp_mask
from sdsr.data.jpeg import jpeg
from sdsr.data.kernels import Blur, Range, drawn_index, random_kernel, random_sinc
from sdsr.data.noise import Noise, add_noise
from sdsr.data.resizing import resized, scaled
from sdsr.errors import InputError
from sdsr.tensors import Float, Image

Entry = Mapping[str, Any]
"""What `degradations.json` says of a set or a part of it; dataclasses say what must be there."""


LowImage = Float[Tensor, "b 3 low_height low_width"]  # an Image of another size than the one beside it

_CLEAN_STREAM = 1  # keep these draws apart from those of the degradation itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """How a stage resizes: chances of up, down and keep; the smallest and the largest factor; equally likely modes."""

    chances: tuple[float, float, float]
    factor: Range
    modes: tuple[str, ...] = ("area", "bilinear", "bicubic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg:
    """How a stage compresses: with which probability, and the range of qualities."""

    probability: float = 1.0
    quality: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Blur, resize, noise (all three with `probability`, or none) and JPEG."""

    probability: float = 1.0
    blur: Blur
    resize: Resize
    noise: Noise
    jpeg: Jpeg


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalSinc:
    """The sinc filter after the last resize."""

    probability: float
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Degradation:
    """One parameter set. The factors of `second.resize` are relative to the LQ size, those of `first.resize` to HQ.

    `sharpened_hq`: the HQ photos are unsharp-masked before anything else (see `truth`).
    `clean`: the probability that a photo is reduced and nothing else.
    `rounded`: LQ is rounded to 8 bit. `crop_px`: side of the crops that the method trains on, None where not published.
    """

    name: str
    scale: int = 4
    first: Stage
    second: Stage
    final_sinc: FinalSinc
    sharpened_hq: bool = False
    clean: float = 0.0
    rounded: bool = True
    crop_px: int | None = None


def degradation(name: str) -> Degradation:
    """The parameter set of that name or of that method; InputError lists them for another."""
    entries = _entries()
    if name not in entries:
        nearest = difflib.get_close_matches(name, entries, n=1, cutoff=0.3) or list(entries)
        raise InputError(f"degradation (={name!r}) is unknown; try {nearest[0]!r}, or one of {', '.join(entries)}.")
    return _parsed(name, _resolved(name))


def lq_size(hq: Image, settings: Degradation) -> tuple[int, int]:
    """Return (H / scale, W / scale); InputError where the sides are no multiple of the scale."""
    height, width = hq.shape[-2:]
    if height % settings.scale or width % settings.scale:
        raise InputError(f"HQ size (={width}x{height}) must be a multiple of {settings.scale}; crop it.")
    return height // settings.scale, width // settings.scale


def truth(hq: Image, settings: Degradation) -> Image:
    """The HQ photos that training compares with, and that `degrade` starts from: sharpened where the recipe says so."""
    return unsharp_mask(hq) if settings.sharpened_hq else hq


def degrade(hq: Image, settings: Degradation, seeds: Sequence[int]) -> LowImage:
    """LQ photos, (b, 3, H / scale, W / scale) in [0, 1]; photo i depends on hq[i] and seeds[i] and on nothing else.

    Deviation: the published code draws the resize factor and mode, the kind of noise and the order of the last steps
    once per batch; here each photo draws its own, so that its LQ follows from its seed. Random numbers are drawn on the
    CPU whatever the device of `hq`.

    Deviation: in the published code a photo drawn as clean is the HQ photo itself, at its size; here, at the LQ size,
    it is that photo averaged over areas.

    Raises InputError where the sides are no multiple of the scale, or there is not one seed per photo.
    """
    size = lq_size(hq, settings)
    _check_seeds(hq, seeds)
    # inference takes a tenth less time for crops of 256 px, and rounding leaves no gradient anyway
    with torch.inference_mode(), full_precision(hq):
        lq = [
            functional.interpolate(photo[None], size=size, mode="area")
            if _is_clean(settings, seed)
            else _degraded(photo[None], settings, size, np.random.default_rng(seed))
            for photo, seed in zip(hq, seeds, strict=True)
        ]
    return finished(torch.cat(lq), settings)


def _degraded(image: Image, settings: Degradation, size: tuple[int, int], rng: Generator) -> LowImage:
    first = settings.first
    second = settings.second
    final = settings.final_sinc
    if rng.random() < first.probability:
        image = _blurred(image, first.blur, rng)
        factor = draw_factor(first.resize, rng)
        mode = draw_mode(first.resize, rng)
        if factor != 1:
            image = scaled(image, factor, mode)
        image = add_noise(image, first.noise, rng)
    image = _compressed(image, first.jpeg, rng)
    if rng.random() < second.probability:
        image = _blurred(image, second.blur, rng)
        factor = draw_factor(second.resize, rng)
        between = (max(int(size[0] * factor), 1), max(int(size[1] * factor), 1))
        image = add_noise(resized(image, between, draw_mode(second.resize, rng)), second.noise, rng)
    jpeg_last = rng.random() < 0.5
    if not jpeg_last:
        image = _compressed(image, second.jpeg, rng)
    image = resized(image, size, draw_mode(second.resize, rng))
    if rng.random() < final.probability:
        image = filter2d(image, random_sinc(final.sizes[rng.integers(len(final.sizes))], rng))
    return _compressed(image, second.jpeg, rng) if jpeg_last else image


def _blurred(image: Image, blur: Blur, rng: Generator) -> Image:
    return filter2d(image, random_kernel(blur, rng)) if rng.random() < blur.probability else image


def draw_factor(resize: Resize, rng: Generator) -> float:
    """Draw how many times larger a stage's resize makes a photo."""
    smallest, largest = resize.factor
    direction = drawn_index(resize.chances, rng)
    return (rng.uniform(1, largest), rng.uniform(smallest, 1), 1.0)[direction]


def draw_mode(resize: Resize, rng: Generator) -> str:
    """Draw a stage's kind of resize, a key of `RESIZE_MODES`."""
    return resize.modes[rng.integers(len(resize.modes))]


def _compressed(image: Image, settings: Jpeg, rng: Generator) -> Image:
    if rng.random() >= settings.probability:
        return image
    return jpeg(image.clamp(0, 1), torch.tensor([rng.uniform(*settings.quality)], dtype=torch.float32))


def finished(image: Image, settings: Degradation) -> Image:
    """Return the LQ photo in [0, 1], of whole levels where the degradation has these."""
    image = image.clamp(0, 1)
    return (image * 255).round() / 255 if settings.rounded else image


def _is_clean(settings: Degradation, seed: int) -> bool:
    return settings.clean > 0 and np.random.default_rng((seed, _CLEAN_STREAM)).random() < settings.clean


def _check_seeds(hq: Image, seeds: Sequence[int]) -> None:
    if len(seeds) != hq.shape[0]:
        raise InputError(f"seeds (={len(seeds)} of them) must be one per photo (={hq.shape[0]}).")
    if min(seeds) < 0:
        raise InputError(f"seed (={min(seeds)}) must be 0 or more.")


@functools.cache
def _entries() -> Mapping[str, Entry]:
    return json.loads(files("sdsr.data").joinpath("degradations.json").read_text(encoding="utf-8"))


def _resolved(name: str) -> Entry:
    """An entry with everything it takes over from the one it is like."""
    entry = dict(_entries()[name])
    parent = entry.pop("like", None)
    return entry if parent is None else _merged(_resolved(parent), entry)


def _merged(base: Entry, changes: Entry) -> Entry:
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = _merged(base[key], value) if isinstance(value, dict) else value
    return merged


def _parsed(name: str, entry: Entry) -> Degradation:
    values = dict(entry)
    first = _stage(values.pop("first"))
    second = _stage(values.pop("second"))
    final_sinc = FinalSinc(**_frozen(values.pop("final_sinc")))
    return Degradation(name=name, first=first, second=second, final_sinc=final_sinc, **values)


def _stage(entry: Entry) -> Stage:
    kinds = {"blur": Blur, "resize": Resize, "noise": Noise, "jpeg": Jpeg}
    return Stage(**{key: kinds[key](**_frozen(value)) if key in kinds else value for key, value in entry.items()})


def _frozen(values: Entry) -> Entry:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
