"""Open TIFF and BigTIFF: gray, palette, RGB, CMYK and Lab at any integer depth, and floats. Source: TIFF 6.0."""

import io
import logging

import tifffile

from sdsr.errors import InputError
from sdsr.photos.foreign import RAW
from sdsr.photos.metadata import exif_of_tiff
from sdsr.photos.notes import Notes, kept_resources
from sdsr.photos.opened import Opened, dpi_of
from sdsr.photos.tiff_samples import decode_samples, described_samples

# Without a handler of its own the reader's remarks on damaged files would go to the terminal.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_REDUCED = 1  # a kind of subfile: a preview
_MASK_OR_REDUCED = 1 | 4  # kinds of subfile that are no photo of their own
_MAX_PAGES = 16
_DNG_VERSION = 50706
_SUBFILES = 330
_MOSAIC_PATTERN = 33421
_MOSAIC = 32803  # photometric interpretation
_LINEAR_RAW = 34892
_IPTC = 33723
_PHOTOSHOP = 34377
_READ = _DPI_X, _DPI_Y, _DPI_UNIT, _ORIENTATION, _XMP, _ICC = 282, 283, 296, 274, 700, 34675


def open_tiff(data: bytes) -> Opened:
    """Open a TIFF or BigTIFF with one photo. Raises InputError for several pages and for what is no 1-16 bit photo."""
    file = tifffile.TiffFile(io.BytesIO(data))
    if _is_raw(file):
        raise InputError(f"this TIFF is {RAW}")
    page = _only_page(file)
    bits = page.bitspersample
    channels = page.samplesperpixel
    numbers = (page.imagewidth, page.imagelength, page.imagedepth, bits, channels)
    if not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"sizes {numbers} are no numbers")
    meant = described_samples(page)
    strips = zip(page.dataoffsets, page.databytecounts, strict=True)
    if any(offset + size > len(data) for offset, size in strips):
        raise InputError("the TIFF is cut short: pixels lie behind its end; copy or export it again.")
    tag = {code: page.tags[code].value for code in _READ if code in page.tags}
    return Opened(
        format="TIFF",
        width=page.imagewidth,
        height=page.imagelength,
        bits=meant.bits,
        space=meant.space,
        alpha=meant.alpha is not None,
        icc=_bytes(tag.get(_ICC)) if meant.profiled else None,
        exif=exif_of_tiff(data),
        xmp=_bytes(tag.get(_XMP)),
        dpi=dpi_of(tag.get(_DPI_UNIT, 2), _ratio(tag.get(_DPI_X)), _ratio(tag.get(_DPI_Y))),
        orientation=_orientation(tag.get(_ORIENTATION)),
        notes=Notes(resources=_resources(page, data)),
        lost=meant.lost,
        decode=lambda: decode_samples(page, meant),
    )


def _is_raw(file: tifffile.TiffFile) -> bool:
    """Whether the file is a camera's: a mosaic or linear sensor data, or a preview whose photo lies in a subfile."""
    first = file.pages[0].aspage()
    if _DNG_VERSION in first.tags or _MOSAIC_PATTERN in first.tags:
        return True
    if int(first.photometric) in (_MOSAIC, _LINEAR_RAW):
        return True
    return bool(first.subfiletype & _REDUCED) and _SUBFILES in first.tags


def _only_page(file: tifffile.TiffFile) -> tifffile.TiffPage:
    """Return the one page that is neither a thumbnail nor a mask; the first, where all are."""
    found = []
    for index, page in enumerate(file.pages):
        if not page.aspage().subfiletype & _MASK_OR_REDUCED:
            found.append(page.aspage())
        if len(found) > 1 or index >= _MAX_PAGES:
            raise InputError("the TIFF has several pages, limit 1; save one of them as a photo.")
    return found[0] if found else file.pages[0].aspage()


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) and value else None


def _orientation(value: object) -> int:
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) and 1 <= first <= 8 else 1


def _resources(page: tifffile.TiffPage, data: bytes) -> bytes | None:
    """Return IPTC as image resources, from Photoshop's tag or from its own."""
    for code in (_PHOTOSHOP, _IPTC):
        if code in page.tags:
            tag = page.tags[code]
            kept = kept_resources(data[tag.valueoffset : tag.valueoffset + tag.valuebytecount])
            if kept:
                return kept
    return None


def _ratio(value: object) -> float:
    match value:
        case (int(a), int(b)) if b:
            return a / b
        case int() | float():
            return float(value)
    return 0.0
