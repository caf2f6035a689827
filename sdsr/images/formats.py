"""Names of formats and color spaces, and the suffixes of files; of the standard library only, so that it loads fast."""

from typing import Literal

Format = Literal["JPEG", "PNG", "WEBP", "TIFF"]
Space = Literal["GRAY", "RGB", "CMYK"]

CHANNELS: dict[Space, int] = {"GRAY": 1, "RGB": 3, "CMYK": 4}
SUFFIXES: dict[str, Format] = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
