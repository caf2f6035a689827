"""JPEG files without their end marker: those that lack nothing else are read, those cut short are not.

A decoder that runs out of bits goes on with zeros. So a file is whole if its picture doesn't change when other bits
follow, and if its scans say that they bring all coefficients to full precision (ITU-T T.81, B.2.3 and G.1.1.1).
"""

import re
import struct
from collections.abc import Callable, Iterator

import numpy as np

_END = b"\xff\xd9"
_SCAN_START = b"\xff\xda"
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_OTHER_BITS = tuple(bytes(min(first ^ step * 37 % 128, 0xFE) for step in range(48)) for first in range(0x80, 0xF8, 8))
_RESTARTS = 16
_PADDING = 2  # zeros at the end of a scan may be its own; more are what a disk or a transfer left
_FRAMES = (0xC0, 0xC1, 0xC2)
_PROGRESSIVE = 0xC2
_SCAN = 0xDA
_COEFFICIENTS = 64
_UNKNOWN = 255


def pixels_without_end(data: bytes, decode: Callable[[bytes], np.ndarray]) -> np.ndarray | None:
    """Return the pixels of a JPEG that lacks only its end marker, by what decodes a whole file; None if more is."""
    zeros = len(data) - len(data.rstrip(b"\0"))
    data = data[: len(data) - zeros] if zeros > _PADDING else data
    data = data.rstrip(b"\xff")
    if not _scans_are_complete(data):
        return None
    pixels = decode(data + _END)
    others = (decode(data + _following(data, bits) + _END) for bits in _OTHER_BITS)
    return pixels if all(np.array_equal(pixels, other) for other in others) else None


def lacks_end(data: bytes) -> bool:
    """Whether no end marker follows the last scan."""
    return data.rfind(_END) < data.rfind(_SCAN_START)


def _following(data: bytes, bits: bytes) -> bytes:
    """Return what may follow in the last scan: bits, and restart markers counted on, else bits would be skipped."""
    restarts = _RESTART.findall(data, data.rfind(_SCAN_START))
    first = restarts[-1][1] - 0xD0 + 1 if restarts else 0
    markers = (bytes((0xFF, 0xD0 + (first + count) % 8)) for count in range(_RESTARTS))
    return bits + b"".join(marker + bits for marker in markers)


def _scans_are_complete(data: bytes) -> bool:
    """Whether the scans bring every coefficient of every component, to its last bit."""
    missing: dict[int, np.ndarray] = {}
    progressive = False
    for marker, body in _segments(data):
        if marker in _FRAMES:
            progressive = marker == _PROGRESSIVE
            missing = {body[6 + 3 * index]: np.full(_COEFFICIENTS, _UNKNOWN) for index in range(body[5])}
        elif marker == _SCAN:
            count = body[0]
            first, last, precision = body[1 + 2 * count : 4 + 2 * count]
            for component in body[1 : 1 + 2 * count : 2]:
                if component in missing and progressive:
                    missing[component][first : last + 1] = precision & 15
                elif component in missing:
                    missing[component][:] = 0
    return bool(missing) and not any(lacking.any() for lacking in missing.values())


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, body) of each segment; the bits that follow the head of a scan are passed over."""
    start = 2
    while 0 <= start < len(data) - 3:
        marker = data[start + 1]
        (length,) = struct.unpack_from(">H", data, start + 2)
        yield marker, data[start + 4 : start + 2 + length]
        start = _next_marker(data, start + 2 + length) if marker == _SCAN else start + 2 + length


def _next_marker(data: bytes, start: int) -> int:
    """Return where the next marker is that isn't part of a scan's bits (stuffing, restarts); -1 if there is none."""
    while (start := data.find(b"\xff", start)) >= 0:
        following = data[start + 1 : start + 2]
        if following and following not in b"\0\xff" and not 0xD0 <= following[0] <= 0xD7:
            return start
        start += 1
    return -1
