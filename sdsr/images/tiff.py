"""Open TIFF and BigTIFF from their bytes: gray, palette, RGB and CMYK at any integer depth. Source: TIFF 6.0."""

import io
import logging

import numpy as np
import tifffile

from sdsr.errors import InputError
from sdsr.images.foreign import RAW
from sdsr.images.formats import CHANNELS, Space
from sdsr.images.metadata import exif_of_tiff
from sdsr.images.opened import Opened, sensible_dpi

# Without a handler of its own the reader's remarks on damaged files would go to the terminal.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6  # photometric interpretation
_JPEG = 7  # compression
_ASSOCIATED, _UNASSOCIATED = 1, 2  # kinds of alpha
_UNSIGNED = 1  # sample format
_REDUCED = 1  # a kind of subfile: a preview
_MASK_OR_REDUCED = 1 | 4  # kinds of subfile that are no photo of their own
_MAX_PAGES = 16
_DNG_VERSION, _SUBFILES, _MOSAIC_PATTERN = 50706, 330, 33421
_MOSAIC, _LINEAR_RAW = 32803, 34892  # photometric interpretation
_READ = _DPI_X, _DPI_Y, _DPI_UNIT, _ORIENTATION, _XMP, _ICC = 282, 283, 296, 274, 700, 34675


def open_tiff(data: bytes) -> Opened:
    """Open a TIFF or BigTIFF with one photo. Raises InputError for several pages and for what is no 1-16 bit photo."""
    file = tifffile.TiffFile(io.BytesIO(data))
    if _is_raw(file):
        raise InputError(f"this TIFF is {RAW}")
    page = _only_page(file)
    bits, channels = page.bitspersample, page.samplesperpixel
    numbers = (page.imagewidth, page.imagelength, page.imagedepth, bits, channels)
    if not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"sizes {numbers} are no numbers")
    space = _space(page)
    kinds = tuple(int(kind) for kind in page.extrasamples)
    alpha = bool(kinds) and kinds[0] in (_ASSOCIATED, _UNASSOCIATED) and space != "CMYK"
    wanted = (1 if page.photometric == _PALETTE else CHANNELS[space]) + len(kinds)
    if page.sampleformat != _UNSIGNED or not 1 <= bits <= 16 or page.imagedepth != 1 or channels != wanted:
        found = f"{channels} channels of {bits} bits, sample format {page.sampleformat}"
        raise InputError(f"the TIFF is no photo (={found}), limit unsigned integers of 1 to 16 bits; save it as such.")
    strips = zip(page.dataoffsets, page.databytecounts, strict=True)
    if any(offset + size > len(data) for offset, size in strips):
        raise InputError("the TIFF is cut short: pixels lie behind its end; copy or export it again.")
    tag = {code: page.tags[code].value for code in _READ if code in page.tags}
    return Opened(
        format="TIFF",
        width=page.imagewidth,
        height=page.imagelength,
        bits=16 if bits > 8 and page.photometric != _PALETTE else 8,
        space=space,
        alpha=alpha,
        icc=_bytes(tag.get(_ICC)),
        exif=exif_of_tiff(data),
        xmp=_bytes(tag.get(_XMP)),
        dpi=_dpi(tag),
        orientation=_orientation(tag.get(_ORIENTATION)),
        decode=lambda: _decode(page, space, alpha),
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


def _space(page: tifffile.TiffPage) -> Space:
    photometric = int(page.photometric)
    if photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        return "GRAY"
    if photometric in (_RGB, _PALETTE) or (photometric == _YCBCR and page.compression == _JPEG):
        return "RGB"
    if photometric == _CMYK:
        return "CMYK"
    raise InputError(
        f"the TIFF has another color space (={page.photometric!s}) than gray, RGB or CMYK; save it as RGB."
    )


def _decode(page: tifffile.TiffPage, space: Space, alpha: bool) -> np.ndarray:
    samples = page.asarray(maxworkers=1)
    samples = samples.reshape(page.shape)
    if page.planarconfig == 2 and samples.ndim == 3:
        samples = np.moveaxis(samples, 0, -1)
    samples = samples[..., None] if samples.ndim == 2 else samples
    if page.photometric == _PALETTE:
        assert page.colormap is not None, "palette without colors"
        return (page.colormap.T[samples[..., 0]] >> 8).astype(np.uint8)
    samples = _full_range(samples, page.bitspersample)
    if page.photometric == _WHITE_IS_ZERO:
        samples = np.iinfo(samples.dtype).max - samples
    color = CHANNELS[space]
    if alpha and page.extrasamples[0] == _ASSOCIATED:
        samples = _unassociated(samples[..., :color], samples[..., color : color + 1])
    return samples[..., : color + alpha]


def _full_range(samples: np.ndarray, bits: int) -> np.ndarray:
    """Stretch samples of any depth to 8 or 16 bits."""
    if bits in (8, 16):
        return samples
    dtype = np.uint8 if bits < 8 else np.uint16
    top, bottom = np.uint32(np.iinfo(dtype).max), np.uint32(2**bits - 1)
    return ((samples.astype(np.uint32) * top + bottom // 2) // bottom).astype(dtype)


def _unassociated(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Divide premultiplied color by its alpha."""
    top = int(np.iinfo(color.dtype).max)
    straight = color.astype(np.float32) * top / np.maximum(alpha, 1)
    return np.concatenate((np.rint(np.minimum(straight, top)).astype(color.dtype), alpha), axis=-1)


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) and value else None


def _orientation(value: object) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _dpi(tag: dict[int, object]) -> tuple[float, float] | None:
    match tag.get(_DPI_X), tag.get(_DPI_Y), tag.get(_DPI_UNIT, 2):
        case (int(a), int(b)), (int(c), int(d)), unit if a and b and c and d and unit in (2, 3):
            per_inch = 2.54 if unit == 3 else 1.0
            return sensible_dpi(a / b * per_inch, c / d * per_inch)
    return None
