"""EXIF and XMP: read the orientation, say "upright", drop the thumbnail, keep everything else byte for byte.

EXIF is handled as the TIFF block it is (offsets count from its start) and edited in place: maker notes hold offsets of
their own and break when a block is laid out anew. Source: CIPA DC-008 (Exif 2.32), sections 4.5 and 4.6.
"""

import io
import math
import re
import struct
from collections.abc import Iterator, MutableMapping
from typing import NamedTuple

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from sdsr.photos.hostile import HOSTILE, first_line, without_remarks
from sdsr.photos.remarks import Remarks
from sdsr.photos.xmp import utf8_packet

remarks = Remarks(__name__)

_PREFIX = b"Exif\0\0"
_BIG = b"II+\0"  # how a BigTIFF begins; of those with the other byte order Pillow reads no directories
_ORIENTATION = 0x0112
_DESCRIPTION = 0x010E
_SHAPE = '{"shape":'
_EXIF_IFD = 0x8769
_WIDTH = 0xA002
_HEIGHT = 0xA003
_THUMBNAIL = 0x0201
_THUMBNAIL_BYTES = 0x0202
_GPS_IFD = 0x8825
_ASCII = 2
_SHORT = 3
_LONG = 4
_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_PATTERNS = dict(enumerate(("B", "c", "H", "I", "II", "b", "B", "h", "i", "ii", "f", "d", "I"), start=1))
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
    """Yield the entries of the directory at `start` that lie, with their values, inside the block."""
    order = byte_order(block)
    for entry in _all_entries(block, start):
        (offset,) = struct.unpack_from(order + "I", block, entry.position + 8)
        size = _VALUE_BYTES.get(entry.kind, 0) * entry.values
        if 0 < size <= 4 or (size > 4 and offset + size <= len(block)):
            yield entry


def _all_entries(block: bytes | bytearray, start: int) -> Iterator[Entry]:
    """Yield the entries of a directory, those too whose type or values make no sense."""
    order = byte_order(block)
    (count,) = struct.unpack_from(order + "H", block, start)
    for position in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        yield Entry(position, *struct.unpack_from(order + "HHI", block, position))


def first_directory(block: bytes | bytearray) -> int:
    return struct.unpack_from(byte_order(block) + "I", block, 4)[0]


def upright_metadata(
    exif: bytes | None, xmp: bytes | None, orientation: int = 1
) -> tuple[int, bytes | None, bytes | None]:
    """Return (orientation 1 ... 8, EXIF, XMP): how the stored photo is turned, and metadata that says it is upright.

    `orientation` is what the file says elsewhere and comes first; XMP speaks last, and comes back in UTF-8.
    """
    (exif_says, exif) = upright_exif(exif)
    (xmp_says, xmp) = upright_xmp(xmp and utf8_packet(xmp))
    return next((value for value in (orientation, exif_says, xmp_says) if 1 < value <= 8), 1), exif, xmp


def upright_exif(raw: bytes | None) -> tuple[int, bytes | None]:
    """Return (orientation, EXIF that says 1 and holds no thumbnail).

    An odd orientation (of several values, of another type) counts as what it must mean. A block that can't be read at
    all is left out and logged.
    """
    if not raw:
        return 1, None
    block = bytearray(raw.removeprefix(_PREFIX))
    try:
        order = byte_order(block)
        start = first_directory(block)
        _end_where_cut(block, order, start)
        found = [entry for entry in entries(block, start) if entry.tag == _ORIENTATION]
        orientation = first_value(block, found[0]) if found else 1
        for entry in [entry for entry in _all_entries(block, start) if entry.tag == _ORIENTATION]:
            _set_number(block, entry, 1)
        _drop_thumbnail(block, order, start)
    except (struct.error, ValueError) as error:
        remarks.warning("EXIF can't be read (%s) and is left out.", error)
        return 1, None
    return (int(orientation) if 1 <= orientation <= 8 else 1), bytes(block)


def _end_where_cut(block: bytearray, order: str, start: int) -> None:
    """Let a first directory that is cut short end with its last whole entry. Raises ValueError where there is none."""
    (count,) = struct.unpack_from(order + "H", block, start)
    whole = min(count, (len(block) - start - 2) // 12)
    if whole == count:
        return
    if whole == 0:
        raise ValueError("its directory is cut off")
    remarks.warning("EXIF is cut short: %d of %d entries are left.", whole, count)
    del block[start + 2 + 12 * whole :]
    block += bytes(4)
    struct.pack_into(order + "H", block, start, whole)


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
        start = int(first_value(block, pointers[0])) if pointers else 0
        for entry in entries(block, start) if 0 < start < len(block) else ():
            if entry.tag in (_WIDTH, _HEIGHT):
                _set_number(block, entry, width if entry.tag == _WIDTH else height)
    except (struct.error, ValueError) as error:
        remarks.warning("the EXIF directory can't be read (%s); its sizes are left as they are.", error)
    return bytes(block)


def exif_of_tiff(data: bytes) -> bytes | None:
    """Return an EXIF block with the descriptive tags of a TIFF file, laid out anew; None where there are none."""
    try:
        with without_remarks():
            exif = _tags_of_big_tiff(data) if data.startswith(_BIG) else _tags_of_tiff(data)
            for tag in set(exif) - DESCRIPTIVE:
                del exif[tag]
            _drop_layout(exif)
            return block_of(exif)
    except HOSTILE as error:
        remarks.warning("tags of the TIFF file can't be read (%s) and are left out.", first_line(error))
        return None


def _tags_of_tiff(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load_from_fp(io.BytesIO(data))
    return exif


def _tags_of_big_tiff(data: bytes) -> Image.Exif:
    """Return the descriptive tags of a BigTIFF, whose directories Pillow's Exif can't load by itself."""
    file = io.BytesIO(data)
    head = file.read(16)
    main = ImageFileDirectory_v2(head)
    file.seek(main.next)
    main.load(file)
    exif = Image.Exif()
    for tag in DESCRIPTIVE & set(main):
        exif[tag] = main[tag]
    for tag in {_EXIF_IFD, _GPS_IFD} & set(main):
        directory = ImageFileDirectory_v2(head, group=tag)
        file.seek(main[tag])
        directory.load(file)
        exif[tag] = dict(directory)
    return exif


def _drop_layout(exif: Image.Exif) -> None:
    """Drop a description in which a program notes sizes and pages for itself, which another picture contradicts."""
    text = exif.get(_DESCRIPTION)
    if not isinstance(text, str):
        return
    if text.startswith(_SHAPE):  # tifffile's: nothing else is in it
        del exif[_DESCRIPTION]
    elif text.startswith("ImageJ=") or (text.startswith("<") and "<OME" in text):
        remarks.warning(
            "the description is of the file's layout (%s ...) and is left out.", text.partition("\n")[0][:40]
        )
        del exif[_DESCRIPTION]


def block_of(exif: Image.Exif) -> bytes | None:
    """Return Pillow's EXIF as a block, less each tag that can't be laid out, which is logged; None if nothing is left.

    Changes what it is given.
    """
    try:
        return exif.tobytes().removeprefix(_PREFIX) if len(exif) else None
    except HOSTILE:
        pass
    for directory in (_EXIF_IFD, _GPS_IFD):
        _drop_odd_tags(_directory_of(exif, directory), directory, exif.endian)
    _drop_odd_tags(exif, None, exif.endian)
    try:
        return exif.tobytes().removeprefix(_PREFIX) if len(exif) else None
    except HOSTILE as error:
        remarks.warning("EXIF can't be laid out (%s) and is left out.", first_line(error))
        return None


def _directory_of(exif: Image.Exif, directory: int) -> MutableMapping[int, object]:
    """Return a directory of EXIF; one that can't be read is taken out and empty."""
    try:
        return exif.get_ifd(directory)
    except HOSTILE:
        exif.pop(directory, None)
        return {}


def _drop_odd_tags(tags: MutableMapping[int, object], directory: int | None, endian: str | None) -> None:
    for tag in [tag for tag in tags if tag not in (_EXIF_IFD, _GPS_IFD)]:
        alone = Image.Exif()
        alone.endian = endian
        try:
            (alone if directory is None else alone.get_ifd(directory))[tag] = tags[tag]
            alone.tobytes()
        except HOSTILE as error:
            remarks.warning("EXIF tag %#06x can't be read (%s) and is left out.", tag, first_line(error))
            tags.pop(tag, None)


def first_value(block: bytes | bytearray, entry: Entry) -> float:
    """Return the first value of an entry of any type of number, or of a digit as text."""
    order = byte_order(block)
    place = entry.position + 8
    if _VALUE_BYTES[entry.kind] * entry.values > 4:
        (place,) = struct.unpack_from(order + "I", block, place)
    value = struct.unpack_from(order + _PATTERNS[entry.kind], block, place)
    if entry.kind == _ASCII:
        return float(value[0]) if value[0].isdigit() else 0.0
    number = value[0] / (value[1] or math.inf) if len(value) == 2 else float(value[0])
    return number if math.isfinite(number) else 0.0


def _set_number(block: bytearray, entry: Entry, value: int) -> None:
    """Make an entry one number, in its own place."""
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
    try:
        found = {entry.tag: first_value(block, entry) for entry in reversed(list(entries(block, thumbnail)))}
    except struct.error:
        return
    begin, size = (int(found.get(tag, 0)) for tag in (_THUMBNAIL, _THUMBNAIL_BYTES))
    if link < begin < begin + size <= len(block):
        block[begin : begin + size] = bytes(size)
        if begin + size == len(block):
            del block[begin:]
