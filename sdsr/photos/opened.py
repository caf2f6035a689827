"""A photo file that is opened: its header and metadata are read, its samples are not."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sdsr.photos.formats import CHANNELS, Format, Space
from sdsr.photos.notes import Notes


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a file says of itself; sizes are as stored, before orientation.

    `decode` returns (height, width, channels) uint8 or uint16, color first, then unassociated alpha if there is any.
    """

    format: Format
    width: int
    height: int
    bits: int
    space: Space
    alpha: bool
    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None
    dpi: tuple[float, float] | None
    decode: Callable[[], np.ndarray]
    orientation: int = 1  # where the file says it outside EXIF and XMP
    described: bytes | None = None  # a profile made of numbers in the file, which counts where `icc` is none
    notes: Notes = field(default_factory=Notes)
    lost: tuple[str, ...] = ()  # what is in the file and can't be kept, in words
    lossless: bool = False  # of a format that can be either way
    credentials: bool = False  # whether it has signed Content Credentials (C2PA)
    data: bytes = b""  # the whole file, of what comes from one

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) that `decode` must return."""
        return self.height, self.width, CHANNELS[self.space] + self.alpha


def dpi_of(unit: object, across: float, down: float) -> tuple[float, float] | None:
    """Return a resolution by the unit of EXIF and TIFF (2: inch, 3: centimeter); None where there is none."""
    if unit not in (2, 3):
        return None
    per_inch = 2.54 if unit == 3 else 1.0
    return sensible_dpi(across * per_inch, down * per_inch)


def sensible_dpi(across: float, down: float) -> tuple[float, float] | None:
    """Return a resolution that a photo may have, else None."""
    return (float(across), float(down)) if 1 <= across <= 65535 and 1 <= down <= 65535 else None
