"""Small filters that the loss terms share: blur, high pass, finite differences, Sobel edges, local energies."""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from sdsr.tensors import Float, Image, Latent, Plane


def hann_window(x: Latent) -> Float[Tensor, "c 1 3 3"]:
    """The 3x3 Hann window for each channel of `x`: what is halved after it doesn't alias."""
    taps = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
    return torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3)


def gaussian_blur(x: Latent, sigma: float | Float[Tensor, " b"]) -> Latent:
    """Each channel blurred by a Gaussian of `sigma` pixels, one value or one per sample; borders are replicated."""
    batch, channels, _, _ = x.shape
    sigmas = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).expand(batch).clamp_min(1e-3)
    radius = max(1, int(3 * float(sigmas.max()) + 0.5))
    offsets = torch.arange(-radius, radius + 1, device=x.device, dtype=torch.float32)
    taps = torch.softmax(-0.5 * (offsets / sigmas[:, None]).square(), dim=1).to(x.dtype)
    taps = taps.repeat_interleave(channels, dim=0)[:, None]
    flat = x.reshape(1, batch * channels, *x.shape[2:])
    with _as_it_comes(x):
        flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), "replicate"), taps[:, :, None, :], groups=batch * channels)
        flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), "replicate"), taps[:, :, :, None], groups=batch * channels)
    return flat.reshape(x.shape)


def _as_it_comes(x: Tensor) -> torch.autocast:
    """No autocast: in bfloat16 a bright place comes in steps of a gray level, which is as much as fine detail has."""
    return torch.autocast(x.device.type, enabled=False)


def high_pass(x: Latent, sigma: float = 1.5) -> Latent:
    """What a Gaussian of `sigma` pixels removes: fine detail, around zero."""
    return x - gaussian_blur(x, sigma)


def differences(x: Latent) -> tuple[Tensor, Tensor]:
    """Forward differences along columns and along rows, one sample shorter in that direction, in units per pixel."""
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def sobel(image: Image) -> Plane:
    """Edge strength sqrt(Gx^2 + Gy^2 + 1e-6) of the channel mean, zeros outside, not normalised.

    The details (channel mean, padding, the 1e-6) are those published with OSDFace by the authors of D3SR,
    whose paper (arXiv:2410.04224) names the operator only.
    """
    rows = [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]
    across = torch.tensor(rows, dtype=image.dtype, device=image.device)
    kernels = torch.stack((across, across.mT))[:, None]
    with _as_it_comes(image):
        gradient = F.conv2d(image.mean(dim=1, keepdim=True), kernels, padding=1)
    return (gradient.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()


FREQUENCIES = (0.15, 0.25, 0.38)
"""Of local energies, in cycles per pixel."""

ORIENTATIONS = 6


def local_energies(image: Image) -> Float[Tensor, "b bands _ _"]:
    """How strong luma's detail is at every second pixel, band by band: `FREQUENCIES` in each of `ORIENTATIONS`.

    The square root of the squared sum of an even and an odd Gabor filter (Morrone and Burr, 1988), which a line shifted
    by less than its width doesn't change, averaged over 3x3 places.
    """
    red, green, blue = image.float().unbind(1)
    luma = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    pairs = _gabor_pairs(luma.device)
    with _as_it_comes(luma):
        even, odd = F.conv2d(luma, pairs, stride=2, padding=pairs.shape[-1] // 2).chunk(2, dim=1)
    return F.avg_pool2d((even.square() + odd.square() + 1e-5).sqrt(), 3, 1, 1, count_include_pad=False)


@cache
def _gabor_pairs(device: torch.device) -> Float[Tensor, "filters 1 11 11"]:
    """Even filters, then odd ones, each of energy one; the even ones are blind to brightness."""
    places = torch.arange(-5.0, 6.0, device=device)
    down, across = torch.meshgrid(places, places, indexing="ij")
    even, odd = [], []
    for frequency in FREQUENCIES:
        sigma = 0.45 / frequency + 0.6
        bell = torch.exp(-(across.square() + down.square()) / (2 * sigma**2))
        for index in range(ORIENTATIONS):
            angle = math.pi * index / ORIENTATIONS
            phase = 2 * math.pi * frequency * (across * math.cos(angle) + down * math.sin(angle))
            wave = bell * phase.cos()
            even.append(wave - bell * (wave.sum() / bell.sum()))
            odd.append(bell * phase.sin())
    filters = torch.stack([*even, *odd])
    return (filters / filters.square().sum((1, 2), keepdim=True).sqrt())[:, None]
