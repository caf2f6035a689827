"""From an opened picture, a file's or one in memory, to a photo: decoded, upright, in sRGB, with what it carries."""

import hashlib
import logging
from dataclasses import replace

import numpy as np

from sdsr.photos.exif_resolution import resolution_of
from sdsr.photos.formats import CHANNELS, Space
from sdsr.photos.hostile import refused
from sdsr.photos.metadata import upright_metadata
from sdsr.photos.opened import Opened
from sdsr.photos.photo import Photo, Traits, bleed
from sdsr.photos.profiles import to_srgb, usable
from sdsr.photos.remarks import about

logger = logging.getLogger(__name__)


def read_opened(opened: Opened, name: str) -> Photo:
    """Decode an opened picture into a photo. Raises InputError, LimitError, which call the picture by its name."""
    with about(name):
        return _read(opened, name)


def _read(opened: Opened, name: str) -> Photo:
    digest = hashlib.sha256(opened.data).hexdigest() if opened.data else None
    opened = replace(opened, data=b"")  # so that the file can go when its decoder lets go of it
    with refused(name):
        samples = opened.decode()
        if samples.shape != opened.shape or samples.dtype != (np.uint16 if opened.bits > 8 else np.uint8):
            raise ValueError(f"pixels of shape {samples.shape}, announced {opened.shape}")
    for what in opened.lost:
        logger.warning("%s holds %s, which can't be kept; the result is without.", name, what)
    channels = CHANNELS[opened.space]
    icc = _readable_profile(opened, name)
    described = opened.described if icc is None else None
    orientation, exif, xmp = upright_metadata(opened.exif, opened.xmp, opened.orientation)
    pixels = turned_upright(to_srgb(samples[..., :channels], icc or described, opened.space), orientation)
    alpha = turned_upright(samples[..., channels], orientation) if opened.alpha else None
    if described:
        logger.info("%s describes its colors without a profile; what is written will be sRGB.", name)
    space, kept = _returned_profile(opened.space, icc, name)
    traits = Traits(
        format=opened.format,
        bits=opened.bits,
        space=space,
        icc=kept,
        exif=exif,
        xmp=xmp,
        dpi=opened.dpi or resolution_of(exif),
        notes=opened.notes,
        lossless=opened.lossless,
        credentials=opened.credentials,
    )
    pixels = pixels if alpha is None else bleed(pixels, alpha)
    return Photo(pixels=pixels, alpha=alpha, traits=traits, source_sha256=digest)


def turned_upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Return samples (height, width, ...) turned and mirrored as an EXIF orientation (1 ... 8) asks."""
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(samples[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])


def _readable_profile(opened: Opened, name: str) -> bytes | None:
    if opened.icc is None or usable(opened.icc, opened.space):
        return opened.icc
    logger.warning("the ICC profile of %s is broken or no %s profile; it is read without.", name, opened.space)
    return None


def _returned_profile(space: Space, icc: bytes | None, name: str) -> tuple[Space, bytes | None]:
    """Return the space and profile to write in: those of the file, or sRGB where they lead only one way."""
    if icc is not None and not usable(icc, space, backwards=True):
        logger.warning("the ICC profile of %s can't be written back to; what is written will be sRGB.", name)
        icc = None
    if space == "CMYK" and icc is None:
        logger.info("%s is CMYK without a profile to return to; what is written will be sRGB.", name)
        return "RGB", None
    return space, icc
