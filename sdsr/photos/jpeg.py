"""JPEG in and out, through Pillow's plugin itself: no other format is in reach, no process-wide limit counts."""

import io
import struct

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from sdsr.errors import InputError
from sdsr.photos.companions import companions
from sdsr.photos.extended_xmp import join_xmp, jpeg_xmp
from sdsr.photos.formats import Space
from sdsr.photos.hostile import without_remarks
from sdsr.photos.layout import STRIP_PIXELS, Layout
from sdsr.photos.notes import Notes, kept_resources
from sdsr.photos.opened import Opened, sensible_dpi
from sdsr.photos.remarks import Remarks
from sdsr.photos.unfinished import lacks_end, pixels_without_end

remarks = Remarks(__name__)

_SPACES: dict[str, Space] = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_MODES = {space: mode for mode, space in _SPACES.items()}
_APP13 = 0xFFED
_COM = 0xFFFE
_PHOTOSHOP = b"Photoshop 3.0\0"
_SEGMENT_BYTES = 65533  # a marker segment, less the two bytes of its length


def open_jpeg(data: bytes) -> Opened:
    """Open a JPEG; of a file with several pictures (MPO, as phones write) the main one."""
    with without_remarks():
        image = JpegImageFile(io.BytesIO(data))
    if image.mode not in _SPACES:
        raise InputError(f"the JPEG has an unknown color mode (={image.mode}); save it as RGB.")
    contents = [(name, bytes(content)) for name, content in image.applist]
    lost, xmp = companions(data, join_xmp(image.info.get("xmp"), (content for _, content in contents)))
    return Opened(
        format="JPEG",
        width=image.width,
        height=image.height,
        bits=8,
        space=_SPACES[image.mode],
        alpha=False,
        icc=image.info.get("icc_profile"),
        exif=image.info.get("exif"),
        xmp=xmp,
        dpi=sensible_dpi(*map(float, image.info["dpi"])) if "dpi" in image.info else None,
        notes=_notes(contents),
        lost=lost,
        decode=lambda: _decode(image, data),
    )


def _notes(contents: list[tuple[str, bytes]]) -> Notes:
    """Return comments and IPTC of the contents (segment's name, bytes)."""
    photoshop = (content[len(_PHOTOSHOP) :] for _, content in contents if content.startswith(_PHOTOSHOP))
    return Notes(
        comments=tuple(content for name, content in contents if name == "COM"),
        resources=kept_resources(b"".join(photoshop)),
    )


def _decode(image: JpegImageFile, data: bytes) -> np.ndarray:
    """Decode, also where nothing but the end marker is missing, which is logged."""
    try:
        pixels = _pixels(image)
    except OSError:  # always so for progressive files; others end with their last row
        whole = pixels_without_end(data, lambda whole: _pixels(JpegImageFile(io.BytesIO(whole))))
        if whole is None:
            raise
        pixels = whole
    if lacks_end(data):
        remarks.warning("a JPEG (%dx%d) lacks its end marker and nothing else; it is read.", *image.size)
    return pixels


def _pixels(image: JpegImageFile) -> np.ndarray:
    """Decode, and copy strip by strip: a whole copy at once would pass through a second one."""
    with image:
        image.load()
        samples = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
        rows = max(1, STRIP_PIXELS // image.width)
        for top in range(0, image.height, rows):
            strip = samples[top : top + rows]
            strip[:] = np.asarray(image.crop((0, top, image.width, top + len(strip)))).reshape(strip.shape)
        image.close()
    return samples


def write_jpeg(file: io.BufferedIOBase, layout: Layout) -> None:
    """Write a JPEG with color at full resolution (4:4:4). Holds one copy of the picture, 4 bytes per pixel."""
    dpi = layout.photo.traits.dpi
    packet = jpeg_xmp(layout.photo.traits.xmp)
    height, width, _ = layout.shape
    with Image.new(_MODES[layout.space], (width, height)) as canvas:
        for top, strip in layout.strips():
            canvas.paste(Image.frombytes(canvas.mode, (width, len(strip)), strip.tobytes()), (0, top))
        canvas.save(
            file,  # pyright: ignore[reportArgumentType]  # a binary file that can seek is all it needs
            "JPEG",
            quality=layout.quality,
            subsampling=0,
            icc_profile=layout.icc,
            exif=_fitting(b"Exif\0\0", layout.exif),
            xmp=packet["xmp"],
            extra=packet["extra"] + note_segments(layout.photo.traits.notes),
            dpi=(round(dpi[0]), round(dpi[1])) if dpi else (0, 0),
        )


def note_segments(notes: Notes, *, comments: bool = True) -> bytes:
    """Return the segments of IPTC, and of comments if wanted, each as far as a segment holds it."""
    resources = notes.resources or b""
    room = _SEGMENT_BYTES - len(_PHOTOSHOP)
    parts = (resources[start : start + room] for start in range(0, len(resources), room))
    app13 = b"".join(_segment(_APP13, _PHOTOSHOP + part) for part in parts)
    fitting = (_fitting(b"", comment) for comment in notes.all_comments) if comments else ()
    return app13 + b"".join(_segment(_COM, comment) for comment in fitting if comment)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">HH", marker, len(content) + 2) + content


def _fitting(prefix: bytes, body: bytes | None) -> bytes:
    """Return a segment's content, or nothing, logged, where JPEG has no room for it."""
    if not body:
        return b""
    if len(prefix) + len(body) > _SEGMENT_BYTES:
        remarks.warning(
            "metadata of %d bytes exceed what a JPEG segment holds (%d); left out.", len(body), _SEGMENT_BYTES
        )
        return b""
    return prefix + body
