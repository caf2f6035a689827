"""A photo as a PIL image that carries, and saves, what belongs to it."""

import logging
from contextlib import suppress
from dataclasses import replace
from os import PathLike, fsdecode
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image as pillow
from PIL.PngImagePlugin import PngInfo

from sdsr.photos.exif_resolution import with_resolution
from sdsr.photos.extended_xmp import jpeg_xmp
from sdsr.photos.hostile import HOSTILE
from sdsr.photos.jpeg import note_segments
from sdsr.photos.layout import lay_out
from sdsr.photos.notes import Notes, note_chunks
from sdsr.photos.photo import Photo

logger = logging.getLogger(__name__)

_PREFIX = b"Exif\0\0"
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
        self, fp: str | bytes | PathLike[str] | PathLike[bytes] | IO[bytes], format: str | None = None, **params: object
    ) -> None:
        name = (format or _format_of(fp)).upper()
        info = self.info
        kept: dict[str, object] = {key: info[key] for key in _SAVED.get(name, ()) if info.get(key)}
        notes = info.get("notes", Notes())
        xmp = info.get("xmp")
        if name in ("WEBP", "AVIF") and info.get("dpi"):
            kept["exif"] = _PREFIX + with_resolution(info.get("exif", b"").removeprefix(_PREFIX) or None, info["dpi"])
        if name == "JPEG":
            packet = jpeg_xmp(xmp if "xmp" not in params else None)
            segments = packet["extra"] + note_segments(notes, comments="comment" not in params)
            kept |= {"xmp": packet["xmp"], "extra": segments, "comment": b""}
        if name == "PNG":
            kept["pnginfo"] = _png_info(notes, xmp)
        if name == "TIFF" and (xmp or notes.resources):
            kept["exif"] = _with_tags(info.get("exif"), {700: xmp, 33723: notes.iptc, 34377: notes.resources})
        super().save(fp, format, **(kept | params))


def to_pillow(photo: Photo) -> TaggedImage:
    """Return a photo as a PIL image in its own mode and profile, with its metadata in `info`.

    16 bits stay where a PIL image holds them, which is gray without alpha (I;16), and are rounded elsewhere.
    """
    notes = photo.traits.notes
    layout = lay_out(replace(photo, traits=replace(photo.traits, notes=Notes())), "TIFF")
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
        "comment": b"\n".join(notes.all_comments),
        "notes": notes if notes != Notes() else None,
    }
    image.info.update({key: value for key, value in carried.items() if value})
    return image


def _format_of(fp: object) -> str:
    name = fp if isinstance(fp, str | bytes | PathLike) else getattr(fp, "name", "")
    path = Path(fsdecode(name)) if isinstance(name, str | bytes | PathLike) else Path()
    return pillow.registered_extensions().get(path.suffix.lower(), "")


def _png_info(notes: Notes, xmp: bytes | None) -> PngInfo:
    chunks = PngInfo()
    for kind, body in note_chunks(notes):
        chunks.add(kind, body)
    if xmp:
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    return chunks


def _with_tags(block: bytes | None, tags: dict[int, bytes | None]) -> pillow.Exif:
    exif = pillow.Exif()
    with suppress(*HOSTILE):
        exif.load(block or b"")
    for tag, value in tags.items():
        if value:
            exif[tag] = value
    return exif
