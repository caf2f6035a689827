"""How a photo is laid down in a file: color space, depth, profile, metadata, and its samples strip by strip.

Samples are made strip by strip, so that writing never holds a second whole picture in another profile or depth.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sdsr.errors import InputError
from sdsr.photos.depths import eight_bits, narrowed, stretched
from sdsr.photos.exif_resolution import resolution_of, with_resolution
from sdsr.photos.formats import CHANNELS, FORMATS, Format, Space
from sdsr.photos.metadata import resized_exif
from sdsr.photos.photo import Photo
from sdsr.photos.profiles import from_srgb, neutral
from sdsr.photos.remarks import Remarks

remarks = Remarks(__name__)

_OWN_RESOLUTION: tuple[Format, ...] = ("JPEG", "PNG", "TIFF")
STRIP_PIXELS = 1 << 20
DEFAULT_QUALITY = 95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """A photo on its way into a file."""

    photo: Photo
    format: Format
    bits: int
    space: Space
    icc: bytes | None
    exif: bytes | None
    quality: int
    lossless: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the samples in the file."""
        return *self.photo.size, CHANNELS[self.space] + (self.photo.alpha is not None)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint16 if self.bits > 8 else np.uint8)

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
        return eight_bits(samples) if self.bits == 8 else samples

    def stored_strips(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the strips as they read back from a lossless file, which may hold fewer bits than 16."""
        for top, strip in self.strips():
            yield top, stretched(narrowed(strip, self.bits), self.bits)

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


def lay_out(photo: Photo, format: Format, quality: int | None = None) -> Layout:
    """Decide how a photo goes into a format; what the format can't carry is named in the log.

    `quality` None is lossless where the photo came so in this format, and else 95. Raises InputError for a quality
    outside 1 ... 100, and for transparency that the format can't hold.
    """
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(f"quality (={quality}) must be 1 to 100; try {DEFAULT_QUALITY}.")
    check_transparency(photo, format)
    if not FORMATS[format].alpha:
        photo = replace(photo, alpha=None)
    space, icc = _color(photo, format)
    bits = _bits(photo, format)
    if lost := photo.traits.notes.lost_in(format):
        remarks.warning("%s has no place for %s of this photo; left out.", format, lost)
    return Layout(
        photo=photo,
        format=format,
        bits=bits,
        space=space,
        icc=icc,
        exif=_exif(photo, format),
        quality=quality or DEFAULT_QUALITY,
        lossless=_is_lossless(photo, format, space, quality),
    )


def check_transparency(photo: Photo, format: Format) -> None:
    """Raise InputError for a photo whose alpha hides something, where the format holds none."""
    if not FORMATS[format].alpha and photo.transparent:
        others = ", ".join(facts.name for facts in FORMATS.values() if facts.alpha)
        raise InputError(f"the photo has transparency, which {format} can't hold; write one of {others}.")


def _color(photo: Photo, format: Format) -> tuple[Space, bytes | None]:
    """Return the color space and the profile that the format writes; None is sRGB."""
    space = photo.traits.space
    icc = photo.traits.icc
    if space not in FORMATS[format].spaces or (space == "CMYK" and (icc is None or photo.alpha is not None)):
        remarks.info("%s can't hold this photo as %s; it is written as RGB in sRGB.", format, space)
        return "RGB", None
    if icc is not None and not FORMATS[format].profiles:
        remarks.info("%s is written without the photo's ICC profile, in sRGB.", format)
        return space, None
    return space, icc


def _exif(photo: Photo, format: Format) -> bytes | None:
    """Return the EXIF of this size, with the resolution where the format has no place of its own for it."""
    height, width = photo.size
    exif = None if photo.traits.exif is None else resized_exif(photo.traits.exif, width, height)
    dpi = photo.traits.dpi
    if dpi and format not in _OWN_RESOLUTION and resolution_of(exif) != dpi:
        return with_resolution(exif, dpi)
    return exif


def _bits(photo: Photo, format: Format) -> int:
    depths = FORMATS[format].depths
    if photo.pixels.dtype == np.uint8:
        return 8
    if depths[-1] < 16 and photo.traits.bits not in depths[1:]:
        remarks.info(
            "%s holds %d bits per channel; 16 are rounded to them. PNG, TIFF and JPEG XL keep 16.", format, depths[-1]
        )
    return photo.traits.bits if photo.traits.bits in depths[1:] else depths[-1]


def _is_lossless(photo: Photo, format: Format, space: Space, quality: int | None) -> bool:
    always = FORMATS[format].lossless
    traits = photo.traits
    if space == "GRAY" and FORMATS[format].lossless_gray:
        return True
    return always if always is not None else quality is None and traits.lossless and traits.format == format
