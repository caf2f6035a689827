"""A term against lattices: lines in the spectrum at multiples of 1/8, which unfolding cells of a latent leaves."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sdsr.losses.terms import Scalar, StepRecord
from sdsr.tensors import Float, Image

PERIOD_PX = 8
_NEAR = (3, 4, 5)  # bins beside a line that it is held against; a window of Hann widens a line by two
_FLOOR = 1e-3  # of amplitude: what is below half a gray level is no line


def spectral_peaks(period_px: int, record: StepRecord) -> Scalar:
    """How far lines at multiples of 1 / period stand out of the spectrum, beyond what they do in the HQ photo's.

    The log of the amplitude at a line over that beside it, along rows and along columns, of detail of luma under a Hann
    window. Sides of at least 8 periods.
    """
    image, hq_image = record.images()
    excess = [
        F.relu(line_heights(image, axis, period_px) - line_heights(hq_image, axis, period_px)) for axis in (-2, -1)
    ]
    return (excess[0].mean() + excess[1].mean()) / 2


def line_heights(image: Image, axis: int, period_px: int = PERIOD_PX) -> Float[Tensor, "b lines"]:
    """The log of each line's mean amplitude over that of its neighbors; 0 where there is no line."""
    luma = image.float().mean(1).movedim(axis, -1)
    length = luma.shape[-1] // period_px * period_px
    assert length >= 8 * period_px, f"{length} px are too few to tell lines apart"
    luma = luma[..., :length] - luma[..., :length].mean(-1, keepdim=True)
    window = torch.hann_window(length, device=luma.device, dtype=luma.dtype)
    amplitude = torch.fft.rfft(luma * window, dim=-1, norm="forward").abs().mean(1) + _FLOOR / length**0.5
    lines = torch.arange(1, period_px // 2 + 1, device=luma.device) * (length // period_px)
    last = amplitude.shape[-1] - 1
    near = [lines + side * step for step in _NEAR for side in (-1, 1)]
    beside = [amplitude[:, last - (last - index).abs()] for index in near]  # mirrored at the highest frequency
    return (amplitude[:, lines] / torch.stack(beside).mean(0)).log()
