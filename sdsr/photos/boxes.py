"""Boxes, of which AVIF, HEIF and JPEG XL files are built: a size, a kind, a body. Source: ISO/IEC 14496-12, 4.2."""

import struct
from collections.abc import Iterator

Box = tuple[bytes, int, int]
"""The kind of a box, and where its body starts and ends."""


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Yield the boxes in a range of the data. Raises ValueError for one that ends behind it."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if size == 0 else start + size
        if not body <= stop <= end:
            raise ValueError(f"a box of {size} bytes at {start} ends behind the file")
        yield kind, body, stop
        start = stop


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box of these parts."""
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def full_box(kind: bytes, *parts: bytes, version: int = 0) -> bytes:
    """Return a box whose body begins with a version and flags, of which none is set."""
    return box(kind, struct.pack(">I", version << 24), *parts)
