"""A photo as a PIL image that carries, and saves, what belongs to it."""

import logging
from contextlib import suppress
from dataclasses import replace
from os import PathLike, fsdecode
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image as pillow
from PIL.PngImagePlugin import PngInfo

from sdsr.images.extended_xmp import jpeg_xmp
from sdsr.images.hostile import HOSTILE
from sdsr.images.layout import lay_out
from sdsr.images.photo import Photo

logger = logging.getLogger(__name__)

_PREFIX = b"Exif\0\0"
_XMP_TAG = 700
_SAVED = {
    "JPEG": ("icc_profile", "exif", "dpi"),
    "PNG": ("icc_profile", "exif", "dpi"),
    "WEBP": ("icc_profile", "exif", "xmp"),
    "TIFF": ("icc_profile", "exif", "dpi"),
    "AVIF": ("icc_profile", "exif", "xmp"),
}


class TaggedImage(pillow.Image):
    """A PIL image whose `save` writes profile, EXIF, XMP and resolution from its `info`, unless told otherwise.

    Pillow itself leaves most of that out unless each is passed on, and a profile left out is a picture in wrong colors.
    """

    def save(
        self, fp: str | bytes | PathLike[str] | PathLike[bytes] | IO[bytes], format: str | None = None, **params: Any
    ) -> None:
        name = (format or _format_of(fp)).upper()
        kept = {key: self.info[key] for key in _SAVED.get(name, ()) if self.info.get(key)}
        if name == "JPEG" and "xmp" not in params:
            kept |= jpeg_xmp(self.info.get("xmp"))
        if self.info.get("xmp") and name == "PNG":
            kept["pnginfo"] = PngInfo()
            kept["pnginfo"].add_itxt("XML:com.adobe.xmp", self.info["xmp"].decode("utf-8", "replace"))
        if self.info.get("xmp") and name == "TIFF":
            kept["exif"] = _with_xmp(self.info.get("exif"), self.info["xmp"])
        super().save(fp, format, **(kept | params))


def to_pillow(photo: Photo) -> TaggedImage:
    """Return a photo as a PIL image in its own mode and profile, with its metadata in `info`.

    16 bits stay where a PIL image holds them, which is gray without alpha (I;16), and are rounded elsewhere.
    """
    layout = lay_out(photo, "TIFF")
    if layout.bits == 16 and layout.shape[2] > 1:
        logger.info("a PIL image holds 8 bits per channel; 16 are rounded to them. Arrays, PNG and TIFF keep 16.")
        layout = replace(layout, bits=8)
    samples = layout.whole()
    mode = "CMYK" if layout.space == "CMYK" else None
    image = pillow.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    if mode is not None:
        image = pillow.frombytes(mode, image.size, np.ascontiguousarray(samples).tobytes())
    image.__class__ = TaggedImage  # Pillow makes an image of its own class only, and this one adds no state
    assert isinstance(image, TaggedImage)
    carried = {
        "icc_profile": layout.icc,
        "exif": layout.exif and _PREFIX + layout.exif,
        "xmp": photo.traits.xmp,
        "dpi": photo.traits.dpi,
    }
    image.info.update({key: value for key, value in carried.items() if value})
    return image


def _format_of(fp: Any) -> str:
    name = fp if isinstance(fp, str | bytes | PathLike) else getattr(fp, "name", "")
    path = Path(fsdecode(name)) if isinstance(name, str | bytes | PathLike) else Path()
    return pillow.registered_extensions().get(path.suffix.lower(), "")


def _with_xmp(block: bytes | None, xmp: bytes) -> pillow.Exif:
    exif = pillow.Exif()
    with suppress(*HOSTILE):
        exif.load(block or b"")
    exif[_XMP_TAG] = xmp
    return exif
