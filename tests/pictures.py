"""Pictures and parts of files that tests of several rooms write, and how far two pictures are apart."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile
from PIL import Image


def smooth(height: int, width: int, channels: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    """A picture without symmetry and without hard edges."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = [0.2 + 0.6 * x, 0.8 - 0.5 * y, 0.3 + 0.2 * x + 0.3 * y, 0.1 + 0.4 * y]
    return np.rint(np.stack(planes[:channels], axis=-1) * np.iinfo(dtype).max).astype(dtype)


def difference(left: np.ndarray, right: np.ndarray) -> int:
    """The largest, in levels."""
    assert left.shape == right.shape
    return int(np.abs(left.astype(int) - right).max())


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    """The file that Pillow makes of it."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def tiff(samples: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def exif_block(orientation: int = 1) -> bytes:
    """EXIF of an orientation and a maker."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    return exif.tobytes()
