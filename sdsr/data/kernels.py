"""Blur kernels of the second-order degradation: Gaussian, generalized Gaussian, plateau and sinc.

Everything is computed in float64 and returned in float32, (1, size, size); each kernel sums to 1. Source: Real-ESRGAN
(arXiv:2107.10833, Sec. 3.2 and 3.3). A kernel is indexed [row, column]; sigma_x belongs to the column axis when theta
is 0.
"""

import bisect
import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from sdsr.tensors import Float, Float64

Kernels = Float[Tensor, "n size size"]
Range = tuple[float, float]
Square = Float64[np.ndarray, "size size"]  # NumPy's functions take half the time of torch's for a kernel

KINDS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """How a stage blurs. Ranges are uniform; `kinds` are the chances of `KINDS` where the kernel is not a sinc."""

    probability: float
    sinc: float
    sizes: tuple[int, ...]
    kinds: tuple[float, ...]
    sigma: Range
    generalized_beta: Range
    plateau_beta: Range


def gaussian_kernel(size: int, sigma_x: float, sigma_y: float, theta: float = 0.0, beta: float = 1.0) -> Kernels:
    """exp(-d^beta / 2) of the squared Mahalanobis distance d; beta 1 is the Gaussian. theta in radians."""
    return _normalized(np.exp(-0.5 * _squared_distance(size, sigma_x, sigma_y, theta) ** beta))


def plateau_kernel(size: int, sigma_x: float, sigma_y: float, theta: float, beta: float) -> Kernels:
    """1 / (1 + d^beta) of the squared Mahalanobis distance d. theta in radians."""
    return _normalized(1 / (1 + _squared_distance(size, sigma_x, sigma_y, theta) ** beta))


def sinc_kernel(size: int, cutoff: float) -> Kernels:
    """The ideal circular low-pass c J1(c r) / (2 pi r), cut to size x size; its ringing imitates over-sharpened photos.

    `cutoff` is in radians per pixel, (0, pi].
    """
    radius = torch.from_numpy(_radius(size))
    ring = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius.clamp_min(1e-12))
    return _normalized(torch.where(radius == 0, cutoff**2 / (4 * math.pi), ring).numpy())


def random_kernel(blur: Blur, rng: Generator) -> Kernels:
    """One kernel of the mix, (1, size, size), size drawn from `blur.sizes`."""
    size = blur.sizes[rng.integers(len(blur.sizes))]
    if rng.random() < blur.sinc:
        return random_sinc(size, rng, lowest=math.pi / 3 if size < 13 else math.pi / 5)
    kind = KINDS[drawn_index(blur.kinds, rng)]
    return mixed_kernel(kind, size, blur, rng)


def random_sinc(size: int, rng: Generator, *, lowest: float = math.pi / 3) -> Kernels:
    """A sinc kernel, (1, size, size), with its cutoff between `lowest` and pi."""
    return sinc_kernel(size, rng.uniform(lowest, math.pi))


def drawn_index(chances: tuple[float, ...], rng: Generator) -> int:
    """Draw an index by these chances: what `rng.choice` draws, in a tenth of its time."""
    sums = list(itertools.accumulate(chances))
    return bisect.bisect_right(sums, rng.random() * sums[-1])


def mixed_kernel(kind: str, size: int, blur: Blur, rng: Generator) -> Kernels:
    """One kernel of a kind of `KINDS`; draws sigma_x, for anisotropic kinds sigma_y and theta, then beta."""
    sigma_x = sigma_y = rng.uniform(*blur.sigma)
    theta = 0.0
    if not kind.endswith("_iso") and kind != "iso":
        sigma_y = rng.uniform(*blur.sigma)
        theta = rng.uniform(-math.pi, math.pi)
    if kind.startswith("plateau"):
        return plateau_kernel(size, sigma_x, sigma_y, theta, _random_beta(blur.plateau_beta, rng))
    beta = _random_beta(blur.generalized_beta, rng) if kind.startswith("generalized") else 1.0
    return gaussian_kernel(size, sigma_x, sigma_y, theta, beta)


def _random_beta(interval: Range, rng: Generator) -> float:
    """Below 1 and above 1 with equal probability, however long either side is."""
    low, high = interval
    return rng.uniform(low, 1) if rng.uniform(0, 1) < 0.5 else rng.uniform(1, high)


@functools.lru_cache(maxsize=64)
def _axis(size: int) -> Float64[np.ndarray, " size"]:
    return np.arange(size) - (size - 1) / 2


@functools.lru_cache(maxsize=64)
def _radius(size: int) -> Square:
    return np.hypot(_axis(size)[:, None], _axis(size))


def _squared_distance(size: int, sigma_x: float, sigma_y: float, theta: float) -> Square:
    y = _axis(size)[:, None]
    x = _axis(size)
    along = (np.cos(theta) * x + np.sin(theta) * y) / sigma_x
    across = (np.cos(theta) * y - np.sin(theta) * x) / sigma_y
    return along**2 + across**2


def _normalized(kernel: Square) -> Kernels:
    return torch.from_numpy((kernel / kernel.sum()).astype(np.float32))[None]
