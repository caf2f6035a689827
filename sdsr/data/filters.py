"""Filtering with one kernel per photo, and the unsharp mask that some recipes apply to their HQ photos."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sdsr.data.kernels import Kernels, gaussian_kernel
from sdsr.images.banded import apply_banded
from sdsr.tensors import Float32, Image

Taps = Float32[np.ndarray, " size"]


_BLOCK = 32  # outputs that one product of matrices computes of an axis
_SEPARABLE = 1e-6  # what a kernel's weights may differ by in all from a product of two: what rounding makes of [0, 1]


def filter2d(image: Image, kernels: Kernels) -> Image:
    """Correlate each photo with its own kernel (or all with the only one); odd size, reflecting border.

    Through the Fourier transform: at 21x21 that is 8 to 20 times faster on a CPU than convolving. One kernel that is
    a product of two one-dimensional ones, as an isotropic Gaussian is, is applied as these, again twice as fast.
    """
    reach = kernels.shape[-1] - 1
    factors = _factors(kernels)
    if factors is not None:
        down, across = factors
        return _correlated(_correlated(_bordered(image, reach // 2), across, dim=-1), down, dim=-2).to(image)
    height, width = image.shape[-2:]
    # lengths of many small factors; more border than the kernel sees changes nothing
    smooth = [-(-(length + reach) // 16) * 16 for length in (height, width)]
    padded = _bordered(image, reach // 2, (smooth[0] - height - reach, smooth[1] - width - reach))
    response = torch.fft.rfft2(kernels.to(image).flip(-2, -1)[:, None], s=smooth)
    filtered = torch.fft.irfft2(torch.fft.rfft2(padded) * response, s=smooth)
    return filtered[..., reach : reach + height, reach : reach + width]


def _factors(kernels: Kernels) -> tuple[Taps, Taps] | None:
    """The weights down and across whose product the only kernel is; None where there are several or it is none."""
    if len(kernels) > 1 or kernels.device.type != "cpu":  # to look at one elsewhere would wait for its device
        return None
    kernel = kernels[0].numpy()
    down = kernel.sum(1)
    across = kernel.sum(0) / kernel.sum()
    return (down, across) if np.abs(down[:, None] * across - kernel).sum() <= _SEPARABLE else None


def _correlated(image: Tensor, taps: Taps, *, dim: Literal[-2, -1]) -> Tensor:
    """Correlate along one axis, which becomes shorter by what the weights reach."""
    reach = len(taps) - 1
    # row i of this matrix has the weights from column i on: those of the row above, one further
    whole = np.zeros((_BLOCK, _BLOCK + reach + 1), np.float32)
    whole[:, : reach + 1] = taps
    whole = whole.ravel()[:-_BLOCK].reshape(_BLOCK, _BLOCK + reach)

    def band(first: int, last: int) -> tuple[int, np.ndarray]:
        return first, whole[: last - first, : last - first + reach]

    return apply_banded(image, band, slice(0, image.shape[dim] - reach), dim=dim, block=_BLOCK)


def unsharp_mask(image: Image, *, weight: float = 0.5, threshold: float = 10.0) -> Image:
    """Sharpen where the photo differs from its blur by more than `threshold` (of 255), with soft transitions.

    The blur is a 51x51 Gaussian of sigma 8; the choices are those of Real-ESRGAN's published training code.
    """
    kernel = gaussian_kernel(51, 8.0, 8.0)
    residual = image - filter2d(image, kernel)
    mask = filter2d((residual.abs() * 255 > threshold).to(image), kernel)
    sharp = (image + weight * residual).clamp(0, 1)
    return mask * sharp + (1 - mask) * image


def _bordered(image: Image, border: int, more: tuple[int, int] = (0, 0)) -> Tensor:
    """The photo in its reflecting border, `more` of it (rows, columns) at the bottom and to the right.

    torch's own padding, which is faster, takes none wider than the photo.
    """
    bottom, right = (border + extra for extra in more)
    if bottom < image.shape[-2] and right < image.shape[-1]:
        return functional.pad(image, (border, right, border, bottom), mode="reflect")
    padded = image
    for dim, after in ((-2, bottom), (-1, right)):
        padded = padded.index_select(dim, _reflected(image.shape[dim], border, after, image.device))
    return padded


def _reflected(length: int, before: int, after: int, device: torch.device) -> Tensor:
    """Indices of a reflecting border that may be wider than the photo itself."""
    period = max(2 * (length - 1), 1)
    position = torch.arange(-before, length + after, device=device) % period
    return torch.minimum(position, period - position)
