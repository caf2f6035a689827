"""The photos of an experiment: each an LQ photo with its truth, from two folders or made by a degradation."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from sdsr.data.degradation import Degradation
from sdsr.errors import InputError
from sdsr.metrics.pairs import photos_by_name, read_pixels
from sdsr.metrics.planes import Pixels, eight_bit
from sdsr.photos.files import Photo, read_photo
from sdsr.studies.degraded import degraded_photo


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A photo to restore and its truth: functions that read or make them when their turn comes."""

    name: str
    lq: Callable[[], Photo]
    truth: Callable[[], Pixels]


def paired_subjects(lq: Path, hr: Path, count: int | None = None) -> tuple[Subject, ...]:
    """The first `count` photos of two folders, matched by name as `sdsr evaluate` does."""
    given, original = photos_by_name(lq), photos_by_name(hr)
    missing = [name for name in original if name not in given]
    if missing:
        raise InputError(f"{lq} has no photo {missing[0]} ({len(missing)} are missing); give the folder of LQ photos.")
    return tuple(
        Subject(name=name, lq=partial(read_photo, given[name]), truth=partial(read_pixels, path))
        for name, path in list(original.items())[:count]
    )


def degraded_subjects(
    hr: Path, settings: Degradation, count: int | None = None, crop_px: int | None = None
) -> tuple[Subject, ...]:
    """The first `count` photos of a folder, degraded; each with a seed of its own, made of its name.

    `crop_px` takes the middle square of each. The truth is the photo as it was, less what the scale leaves over.
    """
    return tuple(
        Subject(
            name=name,
            lq=partial(_degraded, path, settings, crop_px, zlib.crc32(name.encode(errors="surrogateescape"))),
            truth=partial(_truth, path, settings.scale, crop_px),
        )
        for name, path in list(photos_by_name(hr).items())[:count]
    )


def versions(path: Path, settings: Degradation, models: Sequence[str], seed: int = 0) -> dict[str, Pixels]:
    """A photo degraded and enlarged again by bicubic, then restored by each of the models, all at the photo's size."""
    from sdsr.upscaling import Request, Upscaler

    lq = degraded_photo(read_photo(path), settings, seed)
    height, width = (side * settings.scale for side in lq.size)
    enlarged = PillowImage.fromarray(lq.pixels).resize((width, height), PillowImage.Resampling.BICUBIC)
    request = Request(width=width, height=height, seed=seed)
    return {f"degraded by {settings.name}": np.asarray(enlarged)} | {
        f"restored by {model}": Upscaler.from_pretrained(model).upscale(lq, request).pixels for model in models
    }


def _degraded(path: Path, settings: Degradation, crop_px: int | None, seed: int) -> Photo:
    photo = read_photo(path)
    return degraded_photo(replace(photo, pixels=_middle(photo.pixels, crop_px), alpha=None), settings, seed)


def _truth(path: Path, scale: int, crop_px: int | None) -> Pixels:
    pixels = _middle(eight_bit(read_pixels(path)), crop_px)
    height, width = (side // scale * scale for side in pixels.shape[:2])
    return pixels[:height, :width]


def _middle(pixels: Pixels, side_px: int | None) -> Pixels:
    """The square of that side in the middle, as far as the photo goes; None means all of it."""
    if side_px is None:
        return pixels
    top, left = (max(0, (side - side_px) // 2) for side in pixels.shape[:2])
    return pixels[top : top + side_px, left : left + side_px]
