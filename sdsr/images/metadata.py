"""EXIF and XMP: read the orientation, say "upright", drop the thumbnail, keep everything else byte for byte.

EXIF is handled as the TIFF block it is (offsets count from its start) and edited in place: maker notes hold offsets of
their own and break when a block is laid out anew. Source: CIPA DC-008 (Exif 2.32), sections 4.5 and 4.6.
"""

import io
import logging
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

from sdsr.images.hostile import HOSTILE, first_line
from sdsr.images.xmp import utf8_packet

logger = logging.getLogger(__name__)

_PREFIX = b"Exif\0\0"
_ORIENTATION, _EXIF_IFD, _WIDTH, _HEIGHT, _THUMBNAIL, _THUMBNAIL_BYTES = 0x0112, 0x8769, 0xA002, 0xA003, 0x0201, 0x0202
_SHORT, _LONG = 3, 4
_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)([1-8])")

# Tags of the first directory that describe the photo; the others describe how a TIFF file stores it.
# fmt: off
DESCRIPTIVE = frozenset((
    0x010D, 0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298, 0x8769, 0x8825,
    0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F,
))
# fmt: on


class Entry(NamedTuple):
    """One entry of a directory: where it stands in the block, its tag, the type and the number of its values."""

    position: int
    tag: int
    kind: int
    values: int


def byte_order(block: bytes | bytearray) -> str:
    """Return "<" or ">", as struct wants it. Raises ValueError where the block is no TIFF block."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None:
        raise ValueError("EXIF block without a TIFF header")
    return order


def entries(block: bytes | bytearray, start: int) -> Iterator[Entry]:
    """Yield the entries of the directory at `start` whose values lie inside the block."""
    order = byte_order(block)
    (count,) = struct.unpack_from(order + "H", block, start)
    for position in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, values, offset = struct.unpack_from(order + "HHII", block, position)
        size = _VALUE_BYTES.get(kind, 0) * values
        if 0 < size <= 4 or (size > 4 and offset + size <= len(block)):
            yield Entry(position, tag, kind, values)


def first_directory(block: bytes | bytearray) -> int:
    return struct.unpack_from(byte_order(block) + "I", block, 4)[0]


def upright_metadata(
    exif: bytes | None, xmp: bytes | None, orientation: int = 1
) -> tuple[int, bytes | None, bytes | None]:
    """Return (orientation 1 ... 8, EXIF, XMP): how the stored photo is turned, and metadata that says it is upright.

    `orientation` is what the file says elsewhere and comes first; XMP speaks last, and comes back in UTF-8.
    """
    (exif_says, exif), (xmp_says, xmp) = upright_exif(exif), upright_xmp(xmp and utf8_packet(xmp))
    return next((value for value in (orientation, exif_says, xmp_says) if 1 < value <= 8), 1), exif, xmp


def upright_exif(raw: bytes | None) -> tuple[int, bytes | None]:
    """Return (orientation, EXIF that says 1 and holds no thumbnail); what can't be read is left out and logged."""
    if not raw:
        return 1, None
    block = bytearray(raw.removeprefix(_PREFIX))
    try:
        order, start = byte_order(block), first_directory(block)
        found = {entry.tag: entry for entry in entries(block, start)}
        orientation = _number(block, found[_ORIENTATION]) if _ORIENTATION in found else 1
        if _ORIENTATION in found:
            _set_number(block, found[_ORIENTATION], 1)
        _drop_thumbnail(block, order, start)
    except (struct.error, ValueError) as error:
        logger.warning("EXIF can't be read (%s) and is left out.", error)
        return 1, None
    return (orientation if 1 <= orientation <= 8 else 1), bytes(block)


def upright_xmp(xmp: bytes | None) -> tuple[int, bytes | None]:
    """Return (orientation, XMP whose tiff:Orientation says 1)."""
    found = _XMP_ORIENTATION.search(xmp) if xmp else None
    if not xmp or not found:
        return 1, xmp or None
    return int(found[2]), _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def resized_exif(exif: bytes, width: int, height: int) -> bytes:
    """Return EXIF whose PixelXDimension and PixelYDimension, if there are any, name the new size in pixels."""
    block = bytearray(exif)
    try:
        pointers = [e for e in entries(block, first_directory(block)) if e.tag == _EXIF_IFD]
        for entry in entries(block, _number(block, pointers[0])) if pointers else ():
            if entry.tag in (_WIDTH, _HEIGHT):
                _set_number(block, entry, width if entry.tag == _WIDTH else height)
    except (struct.error, ValueError) as error:
        logger.warning("the EXIF directory can't be read (%s); its sizes are left as they are.", error)
    return bytes(block)


def exif_of_tiff(data: bytes) -> bytes | None:
    """Return an EXIF block with the descriptive tags of a TIFF file, laid out anew; None where there are none."""
    exif = Image.Exif()
    try:
        exif.load_from_fp(io.BytesIO(data))
        for tag in set(exif) - DESCRIPTIVE:
            del exif[tag]
        return exif.tobytes().removeprefix(_PREFIX) if len(exif) else None
    except HOSTILE as error:
        logger.warning("tags of the TIFF file can't be read (%s) and are left out.", first_line(error))
        return None


def _number(block: bytes | bytearray, entry: Entry) -> int:
    order = byte_order(block)
    if entry.kind not in (_SHORT, _LONG) or entry.values != 1:
        raise ValueError(f"tag {entry.tag:#06x} is no number")
    return struct.unpack_from(order + ("H" if entry.kind == _SHORT else "I"), block, entry.position + 8)[0]


def _set_number(block: bytearray, entry: Entry, value: int) -> None:
    _number(block, entry)
    order = byte_order(block)
    kind = _SHORT if value <= 0xFFFF else _LONG
    pattern = order + ("HIHH" if kind == _SHORT else "HII")
    struct.pack_into(pattern, block, entry.position + 2, kind, 1, value, *((0,) if kind == _SHORT else ()))


def _drop_thumbnail(block: bytearray, order: str, start: int) -> None:
    """Blank the bytes of the thumbnail and unlink its directory; cut the block where they were its end."""
    (count,) = struct.unpack_from(order + "H", block, start)
    link = start + 2 + 12 * count
    if link + 4 > len(block):
        return
    (thumbnail,) = struct.unpack_from(order + "I", block, link)
    struct.pack_into(order + "I", block, link, 0)
    if not link < thumbnail < len(block):
        return
    found = {
        entry.tag: _number(block, entry)
        for entry in entries(block, thumbnail)
        if entry.tag in (_THUMBNAIL, _THUMBNAIL_BYTES)
    }
    begin, size = (found.get(tag, 0) for tag in (_THUMBNAIL, _THUMBNAIL_BYTES))
    if thumbnail < begin and begin + size <= len(block):
        block[begin : begin + size] = bytes(size)
        if begin + size == len(block):
            del block[begin:]
