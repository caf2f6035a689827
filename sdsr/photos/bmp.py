"""Open BMP, as old scanners write it; what is made of it is a PNG. Source: Microsoft's BITMAPV5HEADER.

Written it isn't: it keeps little of what a photo carries.
"""

import io
import struct

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile

from sdsr.photos.opened import Opened, sensible_dpi

_HEADER = 14  # bytes of the file's header, before that of the picture
_OF_VERSION_5 = 124
_EMBEDDED = b"DEBM"  # a profile in the file: "MBED", as a little-endian number


def open_bmp(data: bytes) -> Opened:
    """Open a BMP: 1 to 32 bits a pixel, with or without a palette, runs of equal pixels (RLE) among them."""
    picture = BmpImageFile(io.BytesIO(data))
    gray = picture.mode in ("1", "L")
    alpha = picture.mode == "RGBA"
    return Opened(
        format="PNG",
        width=picture.width,
        height=picture.height,
        bits=8,
        space="GRAY" if gray else "RGB",
        alpha=alpha,
        icc=_profile(data),
        exif=None,
        xmp=None,
        dpi=sensible_dpi(*picture.info.get("dpi", (0.0, 0.0))),
        lossless=True,
        decode=lambda: _decode(picture, mode="L" if gray else "RGBA" if alpha else "RGB"),
    )


def _profile(data: bytes) -> bytes | None:
    """Return the ICC profile that a header of version 5 has in the file."""
    size, kind = data[_HEADER : _HEADER + 4], data[_HEADER + 56 : _HEADER + 60]
    if size != struct.pack("<I", _OF_VERSION_5) or kind != _EMBEDDED:
        return None
    start, length = struct.unpack_from("<II", data, _HEADER + 112)
    return data[_HEADER + start : _HEADER + start + length] or None


def _decode(picture: BmpImageFile, *, mode: str) -> np.ndarray:
    """Return the samples; where all pixels are said to be clear, the writer left that byte out, and none is."""
    picture.load()
    pixels = np.atleast_3d(np.asarray(picture.convert(mode)))
    if mode != "RGBA" or pixels[..., 3].any():
        return pixels
    return np.concatenate([pixels[..., :3], np.full_like(pixels[..., 3:], 255)], axis=-1)
