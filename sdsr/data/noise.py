"""Sensor noise: Gaussian and Poisson, in color or gray.

Deviation: the published code shares one gray noise field among all photos of a batch; here each photo has its own.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator

from sdsr.data.kernels import Range
from sdsr.tensors import Image, Plane

_GRAY = (0.2989, 0.587, 0.114)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How a stage adds noise: with `probability` at all, then Gaussian with probability `gaussian`, otherwise Poisson.

    `sigma` is in units of 1/255; `poisson_scale` multiplies what photon counting would add; `gray` is the probability
    of equal noise in the three channels.
    """

    probability: float = 1.0
    gaussian: float
    sigma: Range
    poisson_scale: Range
    gray: float


def add_noise(image: Image, noise: Noise, rng: Generator) -> Image:
    """One photo (b = 1) with the noise that a stage draws for it, in [0, 1]."""
    if rng.random() >= noise.probability:
        return image
    gaussian = rng.random() < noise.gaussian
    strength = rng.uniform(*(noise.sigma if gaussian else noise.poisson_scale))
    gray = bool(rng.random() < noise.gray)
    add = add_gaussian if gaussian else add_poisson
    return add(image, strength, gray=gray, rng=rng)


def add_gaussian(image: Image, sigma: float, *, gray: bool, rng: Generator) -> Image:
    """Gaussian noise of standard deviation sigma / 255."""
    channels = 1 if gray else 3
    unit = rng.standard_normal((1, channels, *image.shape[-2:]), dtype=np.float32)
    return (image + torch.from_numpy(unit).to(image) * (sigma / 255)).clamp(0, 1)


def add_poisson(image: Image, scale: float, *, gray: bool, rng: Generator) -> Image:
    """Photon noise: counts at a rate of brightness x full.

    `full` is the power of two not below the number of 8-bit levels that occur in the photo.
    """
    plane = _gray(image) if gray else image
    levels = (plane * 255).round().clamp(0, 255)
    values = levels.cpu().numpy()
    full = 2.0 ** math.ceil(math.log2(np.count_nonzero(np.bincount(values.astype(np.uint8).ravel()))))
    counts = rng.poisson(values * (full / 255)).astype(np.float32)
    return (image + (torch.from_numpy(counts).to(image) / full - levels / 255) * scale).clamp(0, 1)


def _gray(image: Image) -> Plane:
    weights = torch.tensor(_GRAY).to(image)
    return torch.einsum("c,bchw->bhw", weights, image)[:, None]
