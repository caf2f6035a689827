"""The second-order degradation for whole batches on an accelerator, where photo by photo would starve it.

As the published training code draws: factor and kind of each resize and the order of the last steps once per batch;
kernels, noise and quality for each photo. The settings are those of `sdsr/data/degradation.py`; the draws are not the
same.
"""

import functools

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F

from sdsr.data.degradation import (
    Degradation,
    FinalSinc,
    Jpeg,
    LowImage,
    Stage,
    draw_factor,
    draw_mode,
    finished,
    lq_size,
)
from sdsr.data.filters import filter2d
from sdsr.data.jpeg import jpeg
from sdsr.data.kernels import Blur, random_kernel, random_sinc
from sdsr.data.noise import Noise
from sdsr.data.resizing import RESIZE_MODES, ResizeMode
from sdsr.tensors import Float, Image

Photos = Float[Tensor, "b 3 _ _"]  # of whatever size the last step left

BANK = 2048
"""Kernels per stage, drawn once; a photo takes any of them."""

_LARGEST_PX = 21
_FULL = 256.0  # of the counts of photon noise. Deviation: the published code counts the gray levels of each photo
_GRAY = (0.2989, 0.587, 0.114)


def degrade_batch(hq: Image, settings: Degradation, rng: Generator) -> LowImage:
    """LQ photos, (b, 3, H / scale, W / scale) in [0, 1], on the device of `hq`; everything follows from `rng`.

    Raises InputError where the sides are no multiple of the scale.
    """
    size = lq_size(hq, settings)
    grain = torch.Generator(hq.device).manual_seed(int(rng.integers(2**62)))
    image = _first(hq, settings.first, rng, grain)
    image = _second(image, settings.second, size, rng, grain)
    jpeg_last = rng.random() < 0.5
    if not jpeg_last:
        image = _compressed(image, settings.second.jpeg, rng)
    image = F.interpolate(image, size=size, **_mode(settings.second, rng))
    image = _sharpened_by_sinc(image, settings.final_sinc, rng)
    image = _compressed(image, settings.second.jpeg, rng) if jpeg_last else image
    return finished(image, settings)


def _first(image: Photos, stage: Stage, rng: Generator, grain: torch.Generator) -> Photos:
    chosen = _chosen(image, stage.probability, rng)
    changed = _blurred(image, stage.blur, rng)
    factor = draw_factor(stage.resize, rng)
    changed = F.interpolate(changed, scale_factor=factor, **_mode(stage, rng))
    changed = _noised(changed, stage.noise, rng, grain)
    if stage.probability < 1:  # those that were passed over still have to have the size of the others
        changed = torch.where(chosen, changed, F.interpolate(image, size=changed.shape[-2:], mode="area"))
    return _compressed(changed, stage.jpeg, rng)


def _second(image: Photos, stage: Stage, size: tuple[int, int], rng: Generator, grain: torch.Generator) -> Photos:
    chosen = _chosen(image, stage.probability, rng)
    factor = draw_factor(stage.resize, rng)
    between = (max(int(size[0] * factor), 1), max(int(size[1] * factor), 1))
    changed = F.interpolate(_blurred(image, stage.blur, rng), size=between, **_mode(stage, rng))
    changed = _noised(changed, stage.noise, rng, grain)
    return torch.where(chosen, changed, F.interpolate(image, size=between, mode="area"))


def _blurred(image: Photos, blur: Blur, rng: Generator) -> Photos:
    bank = _bank(blur).to(image.device)
    kernels = bank[torch.from_numpy(rng.integers(1, BANK, len(image)))]
    kept = torch.from_numpy(rng.random(len(image)) >= blur.probability)
    kernels = torch.where(kept.to(image.device)[:, None, None], bank[0], kernels)
    return filter2d(image, kernels)


@functools.lru_cache(maxsize=8)
def _bank(blur: Blur) -> Float[Tensor, "n size size"]:
    """Kernels of a mix, all of one size; the first leaves the photo as it is."""
    rng = np.random.default_rng(0)
    same = torch.zeros(1, 1, 1).fill_(1.0)
    return torch.cat([_padded(kernel) for kernel in (same, *(random_kernel(blur, rng) for _ in range(BANK - 1)))])


def _padded(kernel: Tensor) -> Tensor:
    margin = (_LARGEST_PX - kernel.shape[-1]) // 2
    return F.pad(kernel, (margin,) * 4)


def _sharpened_by_sinc(image: Photos, final: FinalSinc, rng: Generator) -> Photos:
    kernels = torch.cat([_padded(random_sinc(int(rng.choice(final.sizes)), rng)) for _ in range(len(image))])
    return torch.where(_chosen(image, final.probability, rng), filter2d(image, kernels), image)


def _noised(image: Photos, noise: Noise, rng: Generator, grain: torch.Generator) -> Photos:
    """Gaussian or photon noise, each photo its own strength, in color or gray; clamped as a sensor would."""
    count = len(image)
    device = image.device
    gray = _chosen(image, noise.gray, rng)
    sigma = _column(rng.uniform(*noise.sigma, count), device) / 255
    unit = torch.randn(image.shape, generator=grain, device=device)
    gaussian = sigma * torch.where(gray, unit[:, :1], unit)
    scale = _column(rng.uniform(*noise.poisson_scale, count), device)
    levels = (image * 255).round().clamp(0, 255) / 255
    luma = torch.einsum("c,bchw->bhw", torch.tensor(_GRAY, device=device), levels)[:, None]
    of_color = torch.poisson(levels * _FULL, generator=grain) / _FULL - levels
    of_gray = torch.poisson(luma * _FULL, generator=grain) / _FULL - luma
    photon = scale * torch.where(gray, of_gray, of_color)
    added = torch.where(_chosen(image, noise.gaussian, rng), gaussian, photon)
    return (image + _chosen(image, noise.probability, rng) * added).clamp(0, 1)


def _compressed(image: Photos, settings: Jpeg, rng: Generator) -> Photos:
    quality = torch.from_numpy(rng.uniform(*settings.quality, len(image))).float()
    chosen = _chosen(image, settings.probability, rng)
    return torch.where(chosen, jpeg(image.clamp(0, 1), quality.to(image.device)), image)


def _mode(stage: Stage, rng: Generator) -> ResizeMode:
    return RESIZE_MODES[draw_mode(stage.resize, rng)]


def _chosen(image: Photos, probability: float, rng: Generator) -> Tensor:
    """Which photos something is done to, to be broadcast over their pixels."""
    return torch.from_numpy(rng.random(len(image)) < probability).to(image.device)[:, None, None, None]


def _column(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(values).float().to(device)[:, None, None, None]
