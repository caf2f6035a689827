"""PNG in and out at its own depth, which Pillow reduces to 8 bits. Source: PNG specification, third edition (W3C 2025).

libpng sees the chunks that make the picture and no others: profiles and text of hostile files are none of its business.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedIOBase
from typing import TypeVar

import imagecodecs
import numpy as np

from sdsr.errors import InputError, SdsrError
from sdsr.photos.described import Chromaticities, of_code_points, of_gamma
from sdsr.photos.formats import Space
from sdsr.photos.layout import Layout
from sdsr.photos.notes import (
    Notes,
    inflate,
    kept_resources,
    keyword_of,
    note_chunks,
    raw_profile,
    text_of,
)
from sdsr.photos.opened import Opened, sensible_dpi
from sdsr.photos.remarks import Remarks

remarks = Remarks(__name__)

_Body = TypeVar("_Body")
_Value = TypeVar("_Value")

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_READ = (b"IHDR", b"acTL", b"tRNS", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf", b"pHYs")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_RAW = "Raw profile type "
_EXIF_STARTS = (b"Exif\0\0", b"II", b"MM")
_XMP_NAMESPACE = b"http://ns.adobe.com/xap/1.0/\0"
_RAW_PROFILES = {"exif": "exif", "app1": "exif", "xmp": "xmp", "iptc": "iptc", "8bim": "iptc"}
_XMP_KEYWORD = b"XML:com.adobe.xmp\0"
_METERS_PER_INCH = 0.0254
_GRAY = 0
_GRAY_ALPHA = 4
_RGBA = 6
_LEVEL = 3  # 8 % larger than level 6 and three times as fast


def open_png(data: bytes) -> Opened:
    """Open a PNG of any depth and color type. Raises InputError for an animation."""
    found: dict[bytes, bytes] = {}
    texts: list[tuple[bytes, bytes]] = []
    for kind, start, end in _chunks(data):
        if kind in _READ or (kind == b"iTXt" and data.startswith(_XMP_KEYWORD, start)):
            found.setdefault(kind, data[start:end])
        elif kind in _TEXTS:
            texts.append((kind, data[start:end]))
    width, height, depth, color = struct.unpack_from(">IIBB", found[b"IHDR"])
    frames = struct.unpack_from(">I", found[b"acTL"])[0] if b"acTL" in found else 1
    if frames > 1:
        raise InputError(f"the PNG is an animation (={frames} frames), limit 1; save one frame as a photo.")
    space: Space = "GRAY" if color in (_GRAY, _GRAY_ALPHA) else "RGB"
    icc, described = _color(found, space)
    raw, notes = _noted(texts)
    return Opened(
        format="PNG",
        width=width,
        height=height,
        bits=16 if depth == 16 else 8,
        space=space,
        alpha=color in (_GRAY_ALPHA, _RGBA) or b"tRNS" in found,
        icc=icc,
        described=described,
        notes=notes,
        exif=found.get(b"eXIf") or raw.get("exif"),
        xmp=_optional(_packet, found.get(b"iTXt")) or raw.get("xmp"),
        dpi=_optional(_resolution, found.get(b"pHYs")),
        decode=lambda: _decode(data),
    )


def _noted(texts: list[tuple[bytes, bytes]]) -> tuple[dict[str, bytes], Notes]:
    """Return the raw profiles that say how a picture is meant, by name (exif, xmp), and the rest as notes."""
    raw = {}
    kept = []
    resources = None
    for kind, body in texts:
        keyword = keyword_of(body).decode("latin-1")
        name = _RAW_PROFILES.get(keyword.removeprefix(_RAW).lower()) if keyword.startswith(_RAW) else None
        if not 1 <= len(keyword) <= 79:
            remarks.warning(
                "a text of the PNG has a keyword of %d letters (limit 1 to 79) and is left out.", len(keyword)
            )
        elif name is None:
            kept.append((kind, body))
        elif profile := _optional(lambda chunk: raw_profile(text_of(*chunk) or ""), (kind, body)):
            if name == "iptc":
                resources = kept_resources(profile)
            elif profile.startswith(_EXIF_STARTS):
                raw.setdefault("exif", profile)
            else:
                raw.setdefault("xmp", profile.removeprefix(_XMP_NAMESPACE))
    return raw, Notes(texts=tuple(kept), resources=resources)


def _color(found: dict[bytes, bytes], space: Space) -> tuple[bytes | None, bytes | None]:
    """Return (ICC profile, described profile) by the precedence of the specification: cICP, iCCP, sRGB, gAMA and cHRM.

    Raises InputError for HDR.
    """
    known, described = _optional(partial(of_code_points, space=space), found.get(b"cICP")) or (False, None)
    if known:
        return None, described
    icc = _optional(_profile, found.get(b"iCCP"))
    if b"sRGB" in found:
        return icc, None
    gamma = _optional(_gamma, found.get(b"gAMA"))
    chromaticities = _optional(_chromaticities, found.get(b"cHRM"))
    return icc, _optional(lambda values: of_gamma(*values, space), (gamma, chromaticities))


def _gamma(body: bytes) -> float:
    return struct.unpack(">I", body)[0] / 100_000


def _chromaticities(body: bytes) -> Chromaticities:
    wx, wy, rx, ry, gx, gy, bx, by = (value / 100_000 for value in struct.unpack(">8I", body))
    return wx, wy, rx, ry, gx, gy, bx, by


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, end) of each chunk's body."""
    start = len(_SIGNATURE) + 8
    while start + 4 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start - 8)
        yield kind, start, start + length
        start += length + 12


def _decode(data: bytes) -> np.ndarray:
    picture = [memoryview(data)[start - 8 : end + 4] for kind, start, end in _chunks(data) if kind in _PICTURE]
    return np.atleast_3d(imagecodecs.png_decode(b"".join((_SIGNATURE, *picture))))


def _optional(read: Callable[[_Body], _Value], body: _Body | None) -> _Value | None:
    """Read an ancillary chunk; a damaged one is left out and logged."""
    try:
        return None if body is None else read(body)
    except SdsrError:
        raise
    except (IndexError, ValueError, struct.error, zlib.error) as error:
        remarks.warning("a chunk of the PNG can't be read (%s) and is left out.", error)
        return None


def _profile(body: bytes) -> bytes:
    return inflate(body.split(b"\0", 1)[1][1:])


def _packet(body: bytes) -> bytes:
    packed = body[len(_XMP_KEYWORD)]
    rest = body[len(_XMP_KEYWORD) + 2 :]
    text = rest.split(b"\0", 2)[2]
    return inflate(text) if packed else text


def _resolution(body: bytes) -> tuple[float, float] | None:
    across, down, per_meter = struct.unpack(">IIB", body)
    if per_meter != 1:
        return None
    return sensible_dpi(round(across * _METERS_PER_INCH, 2), round(down * _METERS_PER_INCH, 2))


def write_png(file: BufferedIOBase, layout: Layout) -> None:
    """Write a PNG. Holds the compressed file, and the samples where they are not the photo's own array."""
    samples = layout.whole()
    packed = memoryview(imagecodecs.png_encode(samples[..., 0] if samples.shape[2] == 1 else samples, level=_LEVEL))
    traits = layout.photo.traits
    header_end = len(_SIGNATURE) + 25
    file.write(packed[:header_end])
    if layout.icc:
        file.write(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(layout.icc)))
    if traits.dpi:
        file.write(_chunk(b"pHYs", struct.pack(">IIB", *(round(value / _METERS_PER_INCH) for value in traits.dpi), 1)))
    if layout.exif:
        file.write(_chunk(b"eXIf", layout.exif))
    if traits.xmp:
        file.write(_chunk(b"iTXt", _XMP_KEYWORD + bytes(4) + traits.xmp))
    for kind, body in note_chunks(traits.notes):
        file.write(_chunk(kind, body))
    file.write(packed[header_end:])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
