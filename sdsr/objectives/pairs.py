"""Pairs of LQ and HQ as a restorer meets them in training: the photograph to restore, and how near a result came."""

from sdsr.errors import InputError
from sdsr.objectives.learner import Sample
from sdsr.objectives.reconstruction import psnr
from sdsr.restoration.canvas import LEAST_MULTIPLES
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.restorer import Restorer
from sdsr.tensors import Image


def photograph_of(restorer: Restorer, sample: Sample) -> Photograph:
    """Return the LQ photos on a canvas of the HQ ones' size; raise InputError where the prior has no latent of it."""
    assert sample.lq is not None, "this objective needs pairs; give its stage a degradation, or paired photos"
    height, width = sample.hq.shape[-2:]
    photograph = Photograph.of(sample.lq, (height, width), restorer.factor)
    if (photograph.region.height, photograph.region.width) != (height, width):
        raise InputError(
            f"crops (={height} x {width} px) must be multiples of {restorer.factor} px and at least "
            f"{LEAST_MULTIPLES * restorer.factor} px; change crop_px, or the size of validation photos."
        )
    return photograph


def first(sample: Sample, count: int) -> Sample:
    """Return the first pairs of a batch."""
    return Sample(hq=sample.hq[:count], lq=None if sample.lq is None else sample.lq[:count])


def nearness(restored: Image, hq: Image) -> dict[str, float]:
    """Return mean PSNR in dB, and the amount of fine detail relative to that of HQ."""
    return {"psnr": float(psnr(restored, hq).mean()), "detail": _detail(restored) / _detail(hq)}


def _detail(image: Image) -> float:
    """Return the mean size of second differences, a rough measure of texture."""
    return float((image[..., 2:] - 2 * image[..., 1:-1] + image[..., :-2]).abs().mean())
