"""Sensor noise: Gaussian and Poisson, in color or gray.

Deviation: the published code shares one gray noise field among all photos of a batch; here each photo has its own.
"""

from dataclasses import dataclass

import torch
from numpy.random import Generator
from torch import Tensor

from sdsr.data.kernels import Range
from sdsr.data.photons import photon_noise
from sdsr.tensors import Float, Image, Plane

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
    unit = unit_noise((1, 1 if gray else 3, *image.shape[-2:]), rng)
    return unit.to(image).mul_(sigma / 255).add(image).clamp_(0, 1)


def unit_noise(shape: tuple[int, ...], rng: Generator) -> Float[Tensor, "..."]:
    """Normal noise, by torch's generator from a seed that is drawn: half the time of drawing it by `rng`."""
    grain = torch.Generator().manual_seed(int(rng.integers(2**63)))
    return torch.randn(shape, generator=grain)


def add_poisson(image: Image, scale: float, *, gray: bool, rng: Generator) -> Image:
    """Photon noise: counts at a rate of brightness x full.

    `full` is the power of two not below the number of 8-bit levels that occur in the photo.
    """
    plane = _gray(image) if gray else image
    levels = (plane * 255).round_().clamp_(0, 255).to(torch.uint8).cpu()
    full = 1 << (int(torch.bincount(levels.ravel()).count_nonzero()) - 1).bit_length()
    noise = torch.from_numpy(photon_noise(levels.numpy(), full, rng)).to(image)
    return noise.mul_(scale).add(image).clamp_(0, 1)


def _gray(image: Image) -> Plane:
    weights = torch.tensor(_GRAY).to(image)
    return torch.einsum("c,bchw->bhw", weights, image)[:, None]
