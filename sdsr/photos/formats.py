"""The formats that are read and written, and what each can hold. Nothing here needs a decoder, nor torch."""

import re
from dataclasses import dataclass
from typing import Literal

Format = Literal["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "JXL"]
FormatName = Literal["jpeg", "png", "webp", "tiff", "avif", "jxl"]
Space = Literal["GRAY", "RGB", "CMYK"]

CHANNELS: dict[Space, int] = {"GRAY": 1, "RGB": 3, "CMYK": 4}
_WITHOUT_LIMIT = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a format holds: its suffixes, the usual one first, color spaces, bits a channel, pixels a side and in all,
    bytes of a file.

    `start` is what its files begin like (a pattern); `lossless` says how it codes: always, never, or as asked (None).
    """

    name: str
    start: bytes
    suffixes: tuple[str, ...]
    spaces: tuple[Space, ...] = ("GRAY", "RGB")
    alpha: bool = True
    depths: tuple[int, ...] = (8,)
    profiles: bool = True
    max_side: int = _WITHOUT_LIMIT
    max_pixels: int = _WITHOUT_LIMIT
    max_bytes: int = 1 << 62
    lossless: bool | None = None
    lossless_gray: bool = False  # whatever is asked, as its encoder has it


FORMATS: dict[Format, Facts] = {
    "JPEG": Facts(
        name="JPEG",
        start=rb"\xff\xd8\xff(?!\xf7|\xe8..SPIFF)",  # which would be JPEG-LS
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
        spaces=("GRAY", "RGB", "CMYK"),
        alpha=False,
        max_side=65535,
        lossless=False,
    ),
    "PNG": Facts(name="PNG", start=rb"\x89PNG\r\n\x1a\n", suffixes=(".png",), depths=(8, 16), lossless=True),
    "WEBP": Facts(name="WebP", start=rb"RIFF....WEBP", suffixes=(".webp",), spaces=("RGB",), max_side=16383),
    "TIFF": Facts(
        name="TIFF",
        start=rb"(?:II[*+]\x00|MM\x00[*+])(?!....(?:CR\x02\x00|IIII.waR))",  # which would be raw files
        suffixes=(".tif", ".tiff"),
        spaces=("GRAY", "RGB", "CMYK"),
        depths=(8, 16),
        max_bytes=(4 << 30) - (64 << 20),  # its offsets have 32 bits; the rest is for what may come besides pixels
        lossless=True,
    ),
    "AVIF": Facts(
        name="AVIF",
        start=rb"....ftyp(?:avi[fs]|mi(?:f1|af)....(?:....){0,12}?avi[fs])",
        suffixes=(".avif",),
        depths=(8, 10, 12),
        max_side=32768,  # both of libavif, as it reads
        max_pixels=1 << 28,
        lossless_gray=True,
    ),
    "JXL": Facts(
        name="JPEG XL",
        start=rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n",
        suffixes=(".jxl",),
        depths=(8, 16),
        profiles=False,
        max_side=1 << 30,
    ),
}

BY_NAME: dict[FormatName, Format] = {
    "jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "tiff": "TIFF", "avif": "AVIF", "jxl": "JXL"
}  # fmt: skip
"""As they are asked for."""
SUFFIXES: dict[str, Format] = {suffix: format for format, facts in FORMATS.items() for suffix in facts.suffixes}
SUFFIX_OF: dict[Format, str] = {format: facts.suffixes[0] for format, facts in FORMATS.items()}
NAMES = ", ".join(facts.name for facts in FORMATS.values())
"""What is read and written, as people call it."""

HEAD_BYTES = 512
"""So many bytes of a file tell what it is."""
_STARTS = re.compile(b"|".join(b"(%s)" % facts.start for facts in FORMATS.values()), re.DOTALL)  # each start is a group
_OF_NUMBER: dict[int, Format] = dict(enumerate(FORMATS, 1))


def begins_like(head: bytes) -> Format | None:
    """Return the format that a file begins like; whether it is a photo at all, its reader decides."""
    found = _STARTS.match(head)
    return None if found is None else _OF_NUMBER[found.lastindex or 0]
