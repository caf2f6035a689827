"""Small linear filters that the loss terms share: blur, high pass, finite differences, Sobel edges."""

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
