"""Pairs of LQ and HQ as a restorer meets them in training: the LQ image to restore, and how near a result came."""

import numpy as np
import torch
from torch import Generator

from sdsr.errors import InputError
from sdsr.metrics.measures import psnr
from sdsr.objectives.training_step import Sample
from sdsr.restoration.canvas import LEAST_MULTIPLES
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.restorer import Restorer
from sdsr.tensors import Float, Image, Region

OFFSETS_PX = 8


def lq_image_of(restorer: Restorer, sample: Sample) -> LqImage:
    """Return the LQ photos on a canvas of the HQ ones' size; raise InputError where the prior has no latent of it."""
    assert sample.lq is not None, "this objective needs pairs; give its stage a degradation, or paired photos"
    height, width = sample.hq.shape[-2:]
    lq_image = LqImage.of(sample.lq, (height, width), restorer.factor)
    if lq_image.region.size != (height, width):
        raise InputError(
            f"crops (={height} x {width} px) must be multiples of {restorer.factor} px and at least "
            f"{LEAST_MULTIPLES * restorer.factor} px; change crop_px, or the size of validation photos."
        )
    return lq_image


def offset_window(image: Image, rng: Generator) -> Region:
    """All of the pictures but up to `OFFSETS_PX` rows and columns at the top left, so many a side in all.

    Networks of features have a grid of their own, and where it always lies on the decoder's cells in the same way,
    their gradients draw it.
    """
    top, left = (int(offset) for offset in torch.randint(OFFSETS_PX, (2,), generator=rng))
    return Region(top=top, left=left, height=image.shape[-2] - OFFSETS_PX, width=image.shape[-1] - OFFSETS_PX)


def first(sample: Sample, count: int) -> Sample:
    """Return the first pairs of a batch."""
    return Sample(hq=sample.hq[:count], lq=None if sample.lq is None else sample.lq[:count])


def nearness(restored: Image, hq: Image) -> dict[str, float]:
    """Return mean PSNR in dB, and the amount of fine detail relative to that of HQ."""
    return {"psnr": mean_psnr(restored, hq), "detail": _detail(restored) / _detail(hq)}


def mean_psnr(image: Image, hq: Image) -> float:
    """Return the mean of the photos' PSNR in dB, without a limit."""
    values = [psnr(*pair, floor=0.0) for pair in zip(_values(image), _values(hq), strict=True)]
    return float(np.mean(values))


def _values(image: Image) -> Float[np.ndarray, "b height width 3"]:
    """Return what measures read: 0 ... 255."""
    return 255 * image.double().movedim(1, -1).cpu().numpy()


def _detail(image: Image) -> float:
    """Return the mean size of second differences, a rough measure of texture."""
    return float((image[..., 2:] - 2 * image[..., 1:-1] + image[..., :-2]).abs().mean())
