"""What a degradation does to a photo: samples on a sheet, or the photo itself at LQ size."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as PillowImage
from torch import Tensor

from sdsr.data.degradation import Degradation, degrade, truth
from sdsr.errors import InputError
from sdsr.images.floats import image, quantize
from sdsr.metrics.planes import Pixels
from sdsr.metrics.sheet import Cell, busiest_region, cropped, grid_of
from sdsr.photos.photo import Photo
from sdsr.tensors import Float, Image


def degraded_photo(hq: Photo, settings: Degradation, seed: int) -> Photo:
    """The photo at LQ size, 8 bit, without alpha; up to scale - 1 px at its right and bottom are cut first."""
    lq = degrade(truth(_whole(image(hq), settings.scale), settings), settings, [seed])
    return Photo(pixels=_pixels(lq), traits=replace(hq.traits, bits=8))


def samples_sheet(hq: Photo, settings: Degradation, seeds: Sequence[int], *, size_px: int = 256) -> PillowImage.Image:
    """The busiest square of the photo as HQ, then one degraded sample for each seed, enlarged to its size."""
    square = replace(hq, pixels=cropped(hq.pixels, busiest_region(hq.pixels, size_px)), alpha=None)
    clean = truth(_whole(image(square), settings.scale), settings)
    lq = degrade(clean.expand(len(seeds), -1, -1, -1), settings, list(seeds))
    samples = [
        Cell(photo=_pixels(sample[None]), label=f"{settings.name}  seed {seed}")
        for sample, seed in zip(lq, seeds, strict=True)
    ]
    return grid_of([Cell(photo=_pixels(clean), label="HQ"), *samples])


def _whole(hq: Image, multiple: int) -> Float[Tensor, "b 3 rows columns"]:
    """The photo cut at its right and bottom to a multiple of the scale."""
    height, width = (side // multiple * multiple for side in hq.shape[-2:])
    if not height * width:
        size = f"{hq.shape[-1]}x{hq.shape[-2]}"
        raise InputError(f"the photo (={size} px) is smaller than the scale (={multiple}); use a larger one.")
    return hq[..., :height, :width]


def _pixels(lq: Image) -> Pixels:
    return quantize(lq, np.uint8)
