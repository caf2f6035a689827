"""Write TIFF, 8 or 16 bits, gray, RGB or CMYK, deflated in strips. Source: TIFF 6.0; Adobe technical notes (ICC, XMP).

An EXIF block *is* a TIFF file without pixels: it opens the new file, strips of pixels follow, and a new first directory
at the end repeats the block's descriptive entries, whose offsets still hold. So EXIF survives, maker notes included.
"""

import struct
from io import BufferedIOBase

import imagecodecs
import numpy as np

from sdsr.photos.layout import Layout
from sdsr.photos.metadata import DESCRIPTIVE, byte_order, entries, first_directory

_BYTE = 1
_SHORT = 3
_LONG = 4
_RATIONAL = 5
_UNDEFINED = 7
_PHOTOMETRIC = {"GRAY": 1, "RGB": 2, "CMYK": 5}
_DEFLATE = 8
_HORIZONTAL = 2
_UNASSOCIATED = 2
_CONTIGUOUS = 1
_INCH = 2
_DPI_DENOMINATOR = 1000
_LEVEL = 4  # of libdeflate, whose higher levels gain 2 % and take twice the time


def write_tiff(file: BufferedIOBase, layout: Layout) -> None:
    """Write the photo strip by strip to an empty file."""
    head = layout.exif or struct.pack("<2sHI", b"II", 42, 8)
    order = byte_order(head)
    file.write(head)
    offsets = []
    counts = []
    for _, strip in layout.strips():
        packed = _pack(strip, order)
        offsets.append(_align(file))
        counts.append(len(packed))
        file.write(packed)
    fields = _structure(layout, order, offsets, counts)
    described = entries(layout.exif, first_directory(layout.exif)) if layout.exif else ()
    kept = {each.tag: head[each.position : each.position + 12] for each in described if each.tag in DESCRIPTIVE}
    written = kept | {tag: _field(file, order, tag, *value) for tag, value in fields.items()}
    start = _align(file)
    file.write(struct.pack(order + "H", len(written)))
    file.write(b"".join(written[tag] for tag in sorted(written)) + bytes(4))
    file.seek(4)
    file.write(struct.pack(order + "I", start))


def _pack(strip: np.ndarray, order: str) -> bytes:
    """Deflate the differences between neighbors along each row."""
    differences = strip.copy()
    differences[:, 1:] -= strip[:, :-1]
    swapped = differences.dtype.newbyteorder("<" if order == "<" else ">")
    return bytes(imagecodecs.deflate_encode(differences.astype(swapped).tobytes(), _LEVEL))


def _structure(layout: Layout, order: str, offsets: list[int], counts: list[int]) -> dict[int, tuple[int, int, bytes]]:
    """Return {tag: (type, number of values, packed values)} of what describes the pixels."""

    def pack(kind: int, *values: int) -> tuple[int, int, bytes]:
        per_value = 2 if kind == _RATIONAL else 1
        return (
            kind,
            len(values) // per_value,
            struct.pack(f"{order}{len(values)}{'H' if kind == _SHORT else 'I'}", *values),
        )

    height, width, channels = layout.shape
    fields = {
        256: pack(_LONG, width),
        257: pack(_LONG, height),
        258: pack(_SHORT, *[layout.bits] * channels),
        259: pack(_SHORT, _DEFLATE),
        262: pack(_SHORT, _PHOTOMETRIC[layout.space]),
        273: pack(_LONG, *offsets),
        277: pack(_SHORT, channels),
        278: pack(_LONG, layout.strip_rows),
        279: pack(_LONG, *counts),
        284: pack(_SHORT, _CONTIGUOUS),
        317: pack(_SHORT, _HORIZONTAL),
    }
    traits = layout.photo.traits
    if layout.photo.alpha is not None:
        fields[338] = pack(_SHORT, _UNASSOCIATED)
    if traits.dpi:
        across, down = (round(value * _DPI_DENOMINATOR) for value in traits.dpi)
        fields[282] = pack(_RATIONAL, across, _DPI_DENOMINATOR)
        fields[283] = pack(_RATIONAL, down, _DPI_DENOMINATOR)
        fields[296] = pack(_SHORT, _INCH)
    if traits.xmp:
        fields[700] = (_BYTE, len(traits.xmp), traits.xmp)
    if traits.notes.iptc:
        fields[33723] = (_UNDEFINED, len(traits.notes.iptc), traits.notes.iptc)
    if traits.notes.resources:
        fields[34377] = (_BYTE, len(traits.notes.resources), traits.notes.resources)
    if layout.icc:
        fields[34675] = (_UNDEFINED, len(layout.icc), layout.icc)
    return fields


def _field(file: BufferedIOBase, order: str, tag: int, kind: int, count: int, packed: bytes) -> bytes:
    """Return a directory entry; values of more than four bytes are written to the file first."""
    if len(packed) <= 4:
        return struct.pack(order + "HHI", tag, kind, count) + packed.ljust(4, b"\0")
    offset = _align(file)
    file.write(packed)
    return struct.pack(order + "HHII", tag, kind, count, offset)


def _align(file: BufferedIOBase) -> int:
    """Pad to an even offset, as TIFF asks, and return it."""
    if file.tell() % 2:
        file.write(b"\0")
    return file.tell()
