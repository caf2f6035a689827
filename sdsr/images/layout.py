"""How a photo is laid down in a file: color space, depth, profile, metadata, and its samples strip by strip.

Samples are made strip by strip, so that writing never holds a second whole picture in another profile or depth.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sdsr.images.formats import CHANNELS, FORMATS, Format, Space
from sdsr.images.metadata import resized_exif
from sdsr.images.photo import Photo
from sdsr.images.profiles import from_srgb, neutral

logger = logging.getLogger(__name__)

STRIP_PIXELS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """A photo on its way into a file."""

    photo: Photo
    format: Format
    bits: int
    space: Space
    icc: bytes | None
    exif: bytes | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the samples in the file."""
        return *self.photo.size, CHANNELS[self.space] + (self.photo.alpha is not None)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint16 if self.bits == 16 else np.uint8)

    @property
    def strip_rows(self) -> int:
        return max(1, min(self.photo.size[0], STRIP_PIXELS // self.photo.size[1]))

    def strips(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (top, samples) from top to bottom, samples (rows, width, channels)."""
        for top in range(0, self.photo.size[0], self.strip_rows):
            yield top, self._samples(slice(top, top + self.strip_rows))

    def _samples(self, rows: slice) -> np.ndarray:
        pixels = self.photo.pixels[rows]
        if self.photo.traits.gray and self.space != "GRAY":
            pixels = neutral(pixels)
        samples = from_srgb(pixels, self.icc, self.space)
        if self.photo.alpha is not None:
            samples = np.concatenate((samples, self.photo.alpha[rows, :, None]), axis=-1)
        return _rounded(samples, self.dtype)

    def whole(self) -> np.ndarray:
        """Return all samples; the photo's own array where they are the same."""
        if (
            self.shape[2] == 3
            and self.icc is None
            and not self.photo.traits.gray
            and self.dtype == self.photo.pixels.dtype
        ):
            return np.ascontiguousarray(self.photo.pixels)
        samples = np.empty(self.shape, self.dtype)
        for top, strip in self.strips():
            samples[top : top + len(strip)] = strip
        return samples


def lay_out(photo: Photo, format: Format) -> Layout:
    """Decide how a photo goes into a format; what the format can't carry is named in the log."""
    space, icc, exif = photo.traits.space, photo.traits.icc, photo.traits.exif
    if space not in FORMATS[format].spaces or (space == "CMYK" and (icc is None or photo.alpha is not None)):
        logger.info("%s can't hold this photo as %s; it is written as RGB in sRGB.", format, space)
        space, icc = "RGB", None
    bits = 8 * photo.pixels.dtype.itemsize
    if bits == 16 and FORMATS[format].max_bits == 8:
        logger.info("%s holds 8 bits per channel; 16 are rounded to them. PNG and TIFF keep 16.", format)
        bits = 8
    if lost := photo.traits.notes.lost_in(format):
        logger.warning("%s has no place for %s of this photo; left out.", format, lost)
    height, width = photo.size
    exif = None if exif is None else resized_exif(exif, width, height)
    return Layout(photo=photo, format=format, bits=bits, space=space, icc=icc, exif=exif)


def _rounded(samples: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if samples.dtype == dtype:
        return samples
    return ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(dtype)
