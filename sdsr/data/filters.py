"""Filtering with one kernel per photo, and the unsharp mask that some recipes apply to their HQ photos."""

import torch
from torch import Tensor
from torch.nn import functional

from sdsr.data.kernels import Kernels, gaussian_kernels
from sdsr.tensors import Image


def filter2d(image: Image, kernels: Kernels) -> Image:
    """Correlate each photo with its own kernel (or all with the only one); odd size, reflecting border.

    Through the Fourier transform: at 21x21 that is 8 to 20 times faster on a CPU than convolving.
    """
    size = kernels.shape[-1]
    border = size // 2
    padded = _bordered(image, border)
    smooth = [-(-length // 16) * 16 for length in padded.shape[-2:]]
    response = torch.fft.rfft2(kernels.to(image).flip(-2, -1)[:, None], s=smooth)
    filtered = torch.fft.irfft2(torch.fft.rfft2(padded, s=smooth) * response, s=smooth)
    return filtered[..., size - 1 : padded.shape[-2], size - 1 : padded.shape[-1]]


def unsharp_mask(image: Image, *, weight: float = 0.5, threshold: float = 10.0) -> Image:
    """Sharpen where the photo differs from its blur by more than `threshold` (of 255), with soft transitions.

    The blur is a 51x51 Gaussian of sigma 8; the choices are those of Real-ESRGAN's published training code.
    """
    sigma = torch.tensor([8.0])
    kernel = gaussian_kernels(51, sigma, sigma, torch.zeros(1))
    residual = image - filter2d(image, kernel)
    mask = filter2d((residual.abs() * 255 > threshold).to(image), kernel)
    sharp = (image + weight * residual).clamp(0, 1)
    return mask * sharp + (1 - mask) * image


def _bordered(image: Image, border: int) -> Tensor:
    """The photo in its reflecting border; torch's own padding, which is faster, takes none wider than the photo."""
    if border < min(image.shape[-2:]):
        return functional.pad(image, (border,) * 4, mode="reflect")
    padded = image
    for dim in (-2, -1):
        padded = padded.index_select(dim, _reflected(image.shape[dim], border, image.device))
    return padded


def _reflected(length: int, border: int, device: torch.device) -> Tensor:
    """Indices of a reflecting border that may be wider than the photo itself."""
    period = max(2 * (length - 1), 1)
    position = torch.arange(-border, length + border, device=device) % period
    return torch.minimum(position, period - position)
