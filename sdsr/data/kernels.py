"""Blur kernels of the second-order degradation: Gaussian, generalized Gaussian, plateau and sinc, as batched functions.

Everything is computed in float64 and returned in float32; each kernel sums to 1. Source: Real-ESRGAN (arXiv:2107.10833,
Sec. 3.2 and 3.3). A kernel is indexed [row, column]; sigma_x belongs to the column axis when theta is 0.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from numpy.random import Generator
from torch import Tensor

Kernels = Float[Tensor, "n size size"]
Values = Float[Tensor, " n"]
Range = tuple[float, float]

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


def gaussian_kernels(size: int, sigma_x: Values, sigma_y: Values, theta: Values, beta: Values | None = None) -> Kernels:
    """exp(-d^beta / 2) of the squared Mahalanobis distance d; beta 1 (or None) is the Gaussian. theta in radians."""
    distance = _squared_distance(size, sigma_x, sigma_y, theta)
    power = distance if beta is None else distance ** beta.double()[:, None, None]
    return _normalized(torch.exp(-0.5 * power))


def plateau_kernels(size: int, sigma_x: Values, sigma_y: Values, theta: Values, beta: Values) -> Kernels:
    """1 / (1 + d^beta) of the squared Mahalanobis distance d. theta in radians."""
    distance = _squared_distance(size, sigma_x, sigma_y, theta)
    return _normalized(1 / (1 + distance ** beta.double()[:, None, None]))


def sinc_kernels(size: int, cutoff: Values) -> Kernels:
    """The ideal circular low-pass c J1(c r) / (2 pi r), cut to size x size; its ringing imitates over-sharpened photos.

    `cutoff` is in radians per pixel, (0, pi].
    """
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    radius = torch.hypot(axis[:, None], axis[None, :])
    c = cutoff.double()[:, None, None]
    ring = c * torch.special.bessel_j1(c * radius) / (2 * math.pi * radius.clamp_min(1e-12))
    return _normalized(torch.where(radius == 0, c**2 / (4 * math.pi), ring))


def random_kernel(blur: Blur, rng: Generator) -> Kernels:
    """One kernel of the mix, (1, size, size), size drawn from `blur.sizes`."""
    size = int(rng.choice(blur.sizes))
    if rng.random() < blur.sinc:
        return random_sinc(size, rng, lowest=math.pi / 3 if size < 13 else math.pi / 5)
    kind = KINDS[rng.choice(len(KINDS), p=blur.kinds)]
    return mixed_kernel(kind, size, blur, rng)


def random_sinc(size: int, rng: Generator, *, lowest: float = math.pi / 3) -> Kernels:
    """A sinc kernel, (1, size, size), with its cutoff between `lowest` and pi."""
    return sinc_kernels(size, _one(rng.uniform(lowest, math.pi)))


def mixed_kernel(kind: str, size: int, blur: Blur, rng: Generator) -> Kernels:
    """One kernel of a kind of `KINDS`; draws sigma_x, for anisotropic kinds sigma_y and theta, then beta."""
    sigma_x = sigma_y = _one(rng.uniform(*blur.sigma))
    theta = _one(0.0)
    if not kind.endswith("_iso") and kind != "iso":
        sigma_y = _one(rng.uniform(*blur.sigma))
        theta = _one(rng.uniform(-math.pi, math.pi))
    if kind.startswith("plateau"):
        return plateau_kernels(size, sigma_x, sigma_y, theta, _random_beta(blur.plateau_beta, rng))
    beta = _random_beta(blur.generalized_beta, rng) if kind.startswith("generalized") else None
    return gaussian_kernels(size, sigma_x, sigma_y, theta, beta)


def _random_beta(interval: Range, rng: Generator) -> Values:
    """Below 1 and above 1 with equal probability, however long either side is."""
    low, high = interval
    return _one(rng.uniform(low, 1) if rng.uniform(0, 1) < 0.5 else rng.uniform(1, high))


def _one(value: float) -> Values:
    return torch.tensor([value], dtype=torch.float64)


def _squared_distance(size: int, sigma_x: Values, sigma_y: Values, theta: Values) -> Float64[Tensor, "n size size"]:
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y = axis[:, None]
    x = axis[None, :]
    cos, sin = (f(theta.double())[:, None, None] for f in (torch.cos, torch.sin))
    along = (cos * x + sin * y) / sigma_x.double()[:, None, None]
    across = (cos * y - sin * x) / sigma_y.double()[:, None, None]
    return along**2 + across**2


def _normalized(kernels: Float64[Tensor, "n size size"]) -> Kernels:
    return (kernels / kernels.sum(dim=(-2, -1), keepdim=True)).float()
