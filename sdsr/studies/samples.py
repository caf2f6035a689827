"""The test samples of a study: each an LQ photo with its truth, from two folders or made by a degradation."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sdsr.data.degradation import Degradation, LowImage
from sdsr.errors import InputError
from sdsr.images.floats import image, quantize
from sdsr.metrics.pairs import given_and_true, photos_by_name, read_pixels
from sdsr.metrics.planes import Pixels
from sdsr.photos.depths import eight_bits
from sdsr.photos.files import Photo, read_photo
from sdsr.region import Region
from sdsr.studies.degraded import degraded_photo
from sdsr.tensors import Image

Degrade = Callable[[Image, int, torch.Generator], LowImage]
"""An image whose sides are multiples of a scale, that scale, and what draws noise, to the LQ image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A photo to restore and its truth: functions that read or make them when their turn comes."""

    name: str
    lq: Callable[[], Photo]
    truth: Callable[[], Pixels]


def paired_samples(lq: Path, hr: Path, count: int | None = None) -> tuple[Sample, ...]:
    """The first `count` photos of two folders, matched by name as `sdsr evaluate` does."""
    given, original = given_and_true(lq, hr)
    return tuple(
        Sample(name=name, lq=partial(read_photo, given[name]), truth=partial(read_pixels, path))
        for name, path in list(original.items())[:count]
    )


def degraded_samples(
    hr: Path, settings: Degradation, count: int | None = None, crop_px: int | None = None
) -> tuple[Sample, ...]:
    """The first `count` photos of a folder, degraded; each with a seed of its own, made of its name.

    `crop_px` takes the middle square of each. The truth is the photo as it was, less what the scale leaves over.
    """
    return tuple(
        Sample(
            name=name,
            lq=partial(_degraded, path, settings, crop_px, zlib.crc32(name.encode(errors="surrogateescape"))),
            truth=partial(_truth, path, settings.scale, crop_px),
        )
        for name, path in list(photos_by_name(hr).items())[:count]
    )


def middle_of_pair(sample: Sample, crop_px: int, scale: int) -> Sample:
    """Return the middle square of a pair of photos: `crop_px` of the truth, and what of the LQ photo belongs to it.

    Raises InputError for a side that is no multiple of the scale.
    """
    if crop_px % scale:
        raise InputError(
            f"crop (={crop_px}) px must be a multiple of the scale {scale}; try {crop_px // scale * scale}."
        )

    def lq() -> Photo:
        photo = sample.lq()
        return replace(photo, pixels=np.ascontiguousarray(_middle(photo.pixels, crop_px // scale)), alpha=None)

    def truth() -> Pixels:
        pixels = eight_bits(sample.truth())
        given = pixels.shape[0] // scale, pixels.shape[1] // scale
        place = Region.middle(given, (crop_px // scale, crop_px // scale)).scaled(scale)
        return pixels[place.rows, place.columns]

    return replace(sample, lq=lq, truth=truth)


def redegraded(sample: Sample, degrade: Degrade, scale: int, seed: int) -> Sample:
    """Return the sample with its truth degraded in this way in place of its own LQ photo."""

    def lq() -> Photo:
        truth = image(Photo(pixels=sample.truth()))
        rng = torch.Generator().manual_seed(seed)
        return Photo(pixels=quantize(degrade(truth, scale, rng), np.uint8))

    return replace(sample, lq=lq)


def evenly_spaced(samples: Sequence[Sample], count: int | None) -> tuple[Sample, ...]:
    """Return `count` of the samples, from the middle of as many equal parts; all of them for None."""
    if count is None or count >= len(samples):
        return tuple(samples)
    return tuple(samples[(2 * index + 1) * len(samples) // (2 * count)] for index in range(count))


def _degraded(path: Path, settings: Degradation, crop_px: int | None, seed: int) -> Photo:
    photo = read_photo(path)
    return degraded_photo(replace(photo, pixels=_middle(photo.pixels, crop_px), alpha=None), settings, seed)


def _truth(path: Path, scale: int, crop_px: int | None) -> Pixels:
    pixels = _middle(eight_bits(read_pixels(path)), crop_px)
    height, width = (side // scale * scale for side in pixels.shape[:2])
    return pixels[:height, :width]


def _middle(pixels: Pixels, side_px: int | None) -> Pixels:
    """The square of that side in the middle, as far as the photo goes; None means all of it."""
    if side_px is None:
        return pixels
    middle = Region.middle((pixels.shape[0], pixels.shape[1]), (side_px, side_px))
    return pixels[middle.rows, middle.columns]
