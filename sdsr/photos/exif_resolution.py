"""Resolution in EXIF, where a photo's own format has no place for it, as in WebP. Source: CIPA DC-008, 4.6.4."""

import struct

from sdsr.photos.metadata import byte_order, entries, first_directory, first_value
from sdsr.photos.opened import dpi_of

_X = 0x011A
_Y = 0x011B
_UNIT = 0x0128
_SHORT = 3
_RATIONAL = 5
_INCH = 2
_DENOMINATOR = 1000
_EMPTY = struct.pack("<2sHIHI", b"II", 42, 8, 0, 0)


def resolution_of(exif: bytes | None) -> tuple[float, float] | None:
    """Return the dots per inch (x, y) that an EXIF block says; None where it says nothing sensible."""
    if not exif:
        return None
    try:
        found = {entry.tag: first_value(exif, entry) for entry in entries(exif, first_directory(exif))}
    except (struct.error, ValueError):
        return None
    if _X not in found:
        return None
    return dpi_of(found.get(_UNIT, _INCH), found[_X], found.get(_Y, found[_X]))


def with_resolution(exif: bytes | None, dpi: tuple[float, float]) -> bytes:
    """Return an EXIF block that says this resolution: a new first directory at its end, so that all offsets hold.

    Raises ValueError or struct.error for a block that can't be read.
    """
    block = bytearray(exif or _EMPTY)
    order = byte_order(block)
    start = first_directory(block)
    (count,) = struct.unpack_from(order + "H", block, start)
    raw = [bytes(block[place : place + 12]) for place in range(start + 2, start + 2 + 12 * count, 12)]
    kept = {struct.unpack_from(order + "H", entry)[0]: entry for entry in raw if len(entry) == 12}
    block += bytes(len(block) % 2)
    across, down = (round(value * _DENOMINATOR) for value in dpi)
    values = len(block)
    block += struct.pack(order + "4I", across, _DENOMINATOR, down, _DENOMINATOR)
    kept[_X] = struct.pack(order + "HHII", _X, _RATIONAL, 1, values)
    kept[_Y] = struct.pack(order + "HHII", _Y, _RATIONAL, 1, values + 8)
    kept[_UNIT] = struct.pack(order + "HHIHH", _UNIT, _SHORT, 1, _INCH, 0)
    struct.pack_into(order + "I", block, 4, len(block))
    block += struct.pack(order + "H", len(kept)) + b"".join(kept[tag] for tag in sorted(kept)) + bytes(4)
    return bytes(block)
