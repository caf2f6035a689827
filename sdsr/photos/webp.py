"""WebP in and out. Source: WebP container specification (RFC 9649, section 2).

libwebp codes the picture alone; this module reads and writes the container around it, which holds the metadata.
"""

import struct
from collections.abc import Iterator
from io import BufferedIOBase, BytesIO

import imagecodecs
from PIL import Image

from sdsr.errors import InputError
from sdsr.photos.layout import Layout
from sdsr.photos.opened import Opened

_FLAGS = {b"ICCP": 32, b"EXIF": 8, b"XMP ": 4}
_ALPHA_FLAG = 16
_ANIMATION_FLAG = 2
_PICTURE = (b"ALPH", b"VP8 ", b"VP8L")
_EFFORT = 40  # of 100: more takes twice the time for 2 %


def open_webp(data: bytes) -> Opened:
    """Open a WebP, lossy or lossless. Raises InputError for an animation; one of a single frame is a photo."""
    found: dict[bytes, bytes] = {}
    for kind, body in _chunks(data):
        found.setdefault(kind, body)
    if b"ANIM" in found or found.get(b"VP8X", b"\0")[0] & _ANIMATION_FLAG:
        frames = [body for kind, body in _chunks(data) if kind == b"ANMF"]
        if len(frames) > 1:
            raise InputError(f"the WebP is an animation (={len(frames)} frames), limit 1; save one frame as a photo.")
        found |= _frame(*frames, canvas=found[b"VP8X"][4:10]) if frames else {}
    picture = {kind: found[kind] for kind in _PICTURE if kind in found}
    width, height, alpha = _size(picture)
    return Opened(
        format="WEBP",
        width=width,
        height=height,
        bits=8,
        space="RGB",
        alpha=alpha,
        icc=found.get(b"ICCP"),
        exif=found.get(b"EXIF"),
        xmp=found.get(b"XMP "),
        dpi=None,
        lossless=b"VP8L" in picture,
        decode=lambda: imagecodecs.webp_decode(_container(picture, width, height, alpha), hasalpha=alpha),
    )


def _frame(frame: bytes, *, canvas: bytes) -> dict[bytes, bytes]:
    """Return the chunks of the only frame. Raises InputError where it covers but a part of the canvas."""
    if frame[6:12] != canvas:  # width and height less one, of three bytes each
        raise InputError("the WebP is an animation whose only frame covers a part of it; save that frame as a photo.")
    return dict(_chunks_from(frame, 16))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    (announced,) = struct.unpack_from("<I", data, 4)
    if announced + 8 > len(data):
        raise ValueError(f"{len(data)} bytes of {announced + 8}")
    yield from _chunks_from(data, 12)


def _chunks_from(data: bytes, start: int) -> Iterator[tuple[bytes, bytes]]:
    while start + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, start)
        if start + 8 + size > len(data):
            raise ValueError(f"a chunk of {size} bytes at {start} ends behind the file")
        yield kind, data[start + 8 : start + 8 + size]
        start += 8 + size + size % 2


def _size(picture: dict[bytes, bytes]) -> tuple[int, int, bool]:
    """Return width, height and whether there is alpha, from the coded picture itself."""
    if b"VP8L" in picture:
        signature, bits = struct.unpack_from("<BI", picture[b"VP8L"])
        if signature != 0x2F:
            raise ValueError("no lossless picture")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    marker, width, height = struct.unpack_from("<3sHH", picture[b"VP8 "], 3)
    if marker != b"\x9d\x01\x2a":
        raise ValueError("no lossy picture")
    return width & 0x3FFF, height & 0x3FFF, b"ALPH" in picture


def write_webp(file: BufferedIOBase, layout: Layout) -> None:
    """Write a WebP, alpha always lossless. Holds the coded file, and samples that are not the photo's own."""
    coded = dict(_chunks(_lossless(layout) if layout.lossless else _lossy(layout)))
    picture = {kind: coded[kind] for kind in _PICTURE if kind in coded}
    height, width, _ = layout.shape
    file.write(_container(picture, width, height, b"ALPH" in picture, layout))


def _lossy(layout: Layout) -> bytes:
    return bytes(imagecodecs.webp_encode(layout.whole(), level=layout.quality, lossless=False))


def _lossless(layout: Layout) -> bytes:
    """Code with Pillow, which also keeps colors under full transparency (exact)."""
    coded = BytesIO()
    with Image.fromarray(layout.whole()) as canvas:
        canvas.save(coded, "WEBP", lossless=True, exact=True, quality=_EFFORT)
    return coded.getvalue()


def _container(
    picture: dict[bytes, bytes], width: int, height: int, alpha: bool, layout: Layout | None = None
) -> bytes:
    """Return a file of the coded picture, with the metadata of a layout if there is one."""
    before = {}
    after = {}
    if layout is not None:
        before = {b"ICCP": layout.icc}
        after = {b"EXIF": layout.exif, b"XMP ": layout.photo.traits.xmp}
    chunks = {kind: body for kind, body in (before | picture | after).items() if body}
    flags = sum(flag for kind, flag in _FLAGS.items() if kind in chunks) | (_ALPHA_FLAG if alpha else 0)
    header = struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"".join(
        struct.pack("<4sI", kind, len(part)) + part + bytes(len(part) % 2)
        for kind, part in ({b"VP8X": header} | chunks).items()
    )
    return struct.pack("<4sI4s", b"RIFF", len(body) + 4, b"WEBP") + body
