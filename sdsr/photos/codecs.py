"""What opens and what writes each format; its module, and the library behind it, is imported with its first photo."""

from collections.abc import Callable
from io import BufferedIOBase
from typing import TYPE_CHECKING

from sdsr.photos.foreign import BMP, GIF, Foreign
from sdsr.photos.formats import Format

if TYPE_CHECKING:
    from sdsr.photos.layout import Layout
    from sdsr.photos.opened import Opened

Opener = Callable[[bytes], "Opened"]
Writer = Callable[[BufferedIOBase, "Layout"], None]


def opener_of(format: Format) -> Opener:
    """Return what opens a file's bytes."""
    match format:
        case "JPEG":
            from sdsr.photos.jpeg import open_jpeg as opener
        case "PNG":
            from sdsr.photos.png import open_png as opener
        case "WEBP":
            from sdsr.photos.webp import open_webp as opener
        case "TIFF":
            from sdsr.photos.tiff import open_tiff as opener
        case "AVIF":
            from sdsr.photos.avif import open_avif as opener
        case "JXL":
            from sdsr.photos.jxl import open_jxl as opener
    return opener


def opener_of_foreign(foreign: Foreign) -> Opener:
    """Return what opens a file's bytes of a format that is read, and not written."""
    if foreign is BMP:
        from sdsr.photos.bmp import open_bmp as opener
    elif foreign is GIF:
        from sdsr.photos.gif import open_gif as opener
    else:
        from sdsr.photos.heic import open_heic as opener
    return opener


def writer_of(format: Format) -> Writer:
    """Return what writes a laid-out photo to a binary file that can seek."""
    match format:
        case "JPEG":
            from sdsr.photos.jpeg import write_jpeg as writer
        case "PNG":
            from sdsr.photos.png import write_png as writer
        case "WEBP":
            from sdsr.photos.webp import write_webp as writer
        case "TIFF":
            from sdsr.photos.tiff_writer import write_tiff as writer
        case "AVIF":
            from sdsr.photos.avif import write_avif as writer
        case "JXL":
            from sdsr.photos.jxl import write_jxl as writer
    return writer
