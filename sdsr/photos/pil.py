"""PIL images as photos and back: read as their file would be, and returned with all that their `info` can carry."""

import io
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image as pillow
from PIL.ImageFile import ImageFile

from sdsr.errors import InputError
from sdsr.photos.depths import eight_bits
from sdsr.photos.described import of_gamma
from sdsr.photos.files import read_photo
from sdsr.photos.formats import Format, Space
from sdsr.photos.hostile import HOSTILE, refused, without_remarks
from sdsr.photos.limits import NO_LIMITS
from sdsr.photos.metadata import upright_metadata
from sdsr.photos.notes import Notes, resource_block, text_chunk
from sdsr.photos.opened import Opened, sensible_dpi
from sdsr.photos.photo import Photo
from sdsr.photos.profiles import encoded_lab, lab_to_srgb
from sdsr.photos.ranges import full_range, sixteen_bits
from sdsr.photos.reading import read_opened

logger = logging.getLogger(__name__)

NAME = "the photo"
_FORMATS: dict[str | None, Format] = {
    "JPEG": "JPEG",
    "MPO": "JPEG",
    "PNG": "PNG",
    "WEBP": "WEBP",
    "TIFF": "TIFF",
    "AVIF": "AVIF",
}
_SINGLE = ("JPEG", "MPO")  # formats whose other pictures belong to the first
_META_TEXTS = ("XML:com.adobe.xmp", "Raw profile type ")
_ORIENTATION = 0x0112


def from_pillow(picture: pillow.Image) -> Photo:
    """Return a PIL image as a photo. Raises InputError for a mode, or a range in it, that can't be told.

    An image that was opened and not touched since is read from its file, so that 16 bits and color chunks count that
    Pillow drops; any other from its pixels and its `info`.
    """
    data = _untouched_file(picture)
    if data is not None:
        return read_photo(data, NO_LIMITS)
    with refused(NAME):
        picture.load()
        space, alpha, samples = _samples(picture)
    if not samples.size:
        raise InputError(f"{NAME} (={picture.width}x{picture.height}) has no pixels; give at least 1x1.")
    return read_opened(_opened(picture, space, alpha, samples), NAME)


def _untouched_file(picture: pillow.Image) -> bytes | None:
    """Return the file behind an image of a known format that is neither loaded nor changed; else None."""
    file = getattr(picture, "fp", None)
    if not isinstance(picture, ImageFile) or picture.format not in _FORMATS or file is None:
        return None
    several = getattr(picture, "n_frames", 1) > 1 and picture.format not in _SINGLE
    if getattr(picture, "_im", picture) is not None or picture.tell() or several:
        return None
    with suppress(*HOSTILE):
        position = file.tell()
        file.seek(0)
        data = file.read()
        file.seek(position)
        with without_remarks(), pillow.open(io.BytesIO(data), formats=[_FORMATS[picture.format]]) as fresh:
            same = all(getattr(fresh, key) == getattr(picture, key) for key in ("mode", "size", "info", "tile"))
            return data if same and dict(fresh.getexif()) == dict(picture.getexif()) else None
    return None


def _opened(picture: pillow.Image, space: Space, alpha: bool, samples: np.ndarray) -> Opened:
    info = picture.info
    xmp = _bytes(info.get("xmp") or info.get("XML:com.adobe.xmp"))
    orientation, exif, xmp = _metadata(picture, xmp)
    return Opened(
        format=_FORMATS.get(picture.format, "PNG"),
        width=picture.width,
        height=picture.height,
        bits=8 * samples.dtype.itemsize,
        space=space,
        alpha=alpha,
        icc=_bytes(info.get("icc_profile")) if picture.mode != "LAB" else None,
        exif=exif,
        xmp=xmp,
        dpi=_dpi(info.get("dpi")),
        orientation=orientation,
        described=_described(info, space),
        notes=_notes(picture),
        decode=lambda: samples,
    )


def _samples(picture: pillow.Image) -> tuple[Space, bool, np.ndarray]:
    """Return (space, whether there is alpha, samples (h, w, c)) of a PIL image of any mode."""
    clear = picture.has_transparency_data
    match picture.mode:
        case "1" | "L" | "LA" | "La":
            return "GRAY", clear, _array(picture, "LA" if clear else "L")
        case "RGB" | "RGBA" | "RGBa" | "P" | "PA" | "RGBX" | "YCbCr" | "HSV":
            return "RGB", clear, _array(picture, "RGBA" if clear else "RGB")
        case "CMYK":
            return "CMYK", False, np.asarray(picture)
        case "LAB":
            lab = encoded_lab(np.asarray(picture), signed=True)  # Pillow gives a* and b* as signed bytes
            return "RGB", False, eight_bits(lab_to_srgb(lab))
        case mode if mode.startswith("I;16"):
            return _gray(np.asarray(picture).astype(np.uint16), picture)
        case "I":
            return _gray(sixteen_bits(np.asarray(picture), f"{NAME}, of mode I,"), picture)
        case "F":
            return _gray(full_range(np.asarray(picture), f"{NAME}, of mode F,"), picture)
    raise InputError(f"{NAME} has an unknown mode (={picture.mode}); convert it to L, RGB or RGBA.")


def _metadata(picture: pillow.Image, xmp: bytes | None) -> tuple[int, bytes | None, bytes | None]:
    """Return (orientation, EXIF, XMP), the last two saying "upright".

    The orientation is the one that Pillow reports: who turns an image by hand says so there.
    """
    exif = pillow.Exif()
    block = None
    with suppress(*HOSTILE), without_remarks():
        exif = picture.getexif()
        block = _bytes(picture.info.get("exif")) or (exif.tobytes() if len(exif) else None)
    orientation, block, xmp = upright_metadata(block, xmp)
    with without_remarks():
        reported = exif.get(_ORIENTATION, 1)
    if isinstance(reported, tuple):
        reported = reported[0] if reported else 1
    return (reported if len(exif) and isinstance(reported, int) else orientation), block, xmp


def _notes(picture: pillow.Image) -> Notes:
    """Return the words that Pillow keeps of a file."""
    comment = _bytes(picture.info.get("comment"))
    photoshop = picture.info.get("photoshop")
    resources = photoshop.items() if isinstance(photoshop, dict) else ()
    texts = getattr(picture, "text", {}) if picture.format == "PNG" else {}
    chunks = []
    for keyword, text in texts.items():
        with suppress(UnicodeEncodeError):
            chunks += [] if keyword.startswith(_META_TEXTS) else [text_chunk(keyword, str(text))]
    return Notes(
        texts=tuple(chunks),
        comments=(comment,) if comment else (),
        resources=resource_block({number: body for number, body in resources if isinstance(body, bytes)}),
    )


def _described(info: Mapping[str | tuple[int, int], Any], space: Space) -> bytes | None:
    """Return the profile of the PNG chunks that Pillow keeps."""
    if space == "CMYK" or "srgb" in info:
        return None
    try:
        return of_gamma(info.get("gamma"), info.get("chromaticity"), space)
    except (TypeError, ValueError) as error:
        logger.warning("color chunks of %s can't be read (%s) and are left out.", NAME, error)
        return None


def _array(picture: pillow.Image, mode: str) -> np.ndarray:
    return np.atleast_3d(np.asarray(picture if picture.mode == mode else picture.convert(mode)))


def _gray(levels: np.ndarray, picture: pillow.Image) -> tuple[Space, bool, np.ndarray]:
    """Return 16-bit levels (h, w), with alpha where one level stands for transparency."""
    clear = picture.info.get("transparency")
    if not isinstance(clear, int):
        return "GRAY", False, levels[..., None]
    return "GRAY", True, np.dstack((levels, np.where(levels == clear, 0, 65535).astype(np.uint16)))


def _bytes(value: object) -> bytes | None:
    return (value.encode() if isinstance(value, str) else value) if isinstance(value, str | bytes) and value else None


def _dpi(value: Any) -> tuple[float, float] | None:
    try:
        across, down = value
        return sensible_dpi(float(across), float(down))
    except (ArithmeticError, TypeError, ValueError):
        return None
