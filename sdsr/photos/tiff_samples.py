"""Samples of a TIFF page, of every convention, as color at 8 or 16 bits and alpha. Source: TIFF 6.0, 4-6, 18, 23.

CIE L*a*b* of either encoding becomes sRGB here, a palette its colors; alpha is unassociated.
"""

from dataclasses import dataclass

import numpy as np
import tifffile

from sdsr.errors import InputError
from sdsr.photos.depths import eight_bits, stretched, unassociated
from sdsr.photos.formats import CHANNELS, Space
from sdsr.photos.profiles import encoded_lab, lab_to_srgb
from sdsr.photos.ranges import full_range
from sdsr.photos.remarks import Remarks

remarks = Remarks(__name__)

_WHITE_IS_ZERO = 0
_BLACK_IS_ZERO = 1
_RGB = 2
_PALETTE = 3
_CMYK = 5
_YCBCR = 6
_CIELAB = 8
_ICCLAB = 9
_JPEG = 7  # compression
_ASSOCIATED, _UNASSOCIATED = 1, 2  # kinds of extra samples that are alpha; 0 is of no stated meaning
_UNSIGNED = 1  # sample formats
_SIGNED = 2
_FLOAT = 3
_PREMULTIPLIED_SLACK = 1 / 64  # share of full range by which rounding and compression let color exceed its alpha
_MISLABELED = 0.01  # share of pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """How a page's samples are meant: `color` channels, then the others, of which one may be alpha.

    `profiled` says whether an ICC profile would be of this space; `lost` is what is left out, in words.
    """

    space: Space
    bits: int
    color: int
    alpha: int | None
    profiled: bool
    lost: tuple[str, ...]


def described_samples(page: tifffile.TiffPage) -> Samples:
    """Return what a page's tags say of its samples. Raises InputError for what is no photo of a known kind."""
    photometric = int(page.photometric)
    bits = page.bitspersample
    channels = page.samplesperpixel
    space = _space(page)
    color = 1 if photometric == _PALETTE else CHANNELS[space]
    lab = photometric in (_CIELAB, _ICCLAB)
    known = {
        _UNSIGNED: 1 <= bits <= 16 and not (lab and bits not in (8, 16)),
        _SIGNED: photometric == _CIELAB and bits in (8, 16),
        _FLOAT: photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) and bits in (16, 32, 64),
    }
    if not known.get(int(page.sampleformat)) or page.imagedepth != 1 or channels < color:
        found = f"{channels} channels of {bits} bits, sample format {page.sampleformat}"
        raise InputError(
            f"the TIFF is no photo (={found}), limit unsigned integers of 1 to 16 bits or floats in 0 ... 1;"
            " save it as such."
        )
    extras = [int(kind) for kind in page.extrasamples][: channels - color]
    extras += [0] * (channels - color - len(extras))  # also where the tag is missing
    alpha = next((index for index, kind in enumerate(extras) if kind in (_ASSOCIATED, _UNASSOCIATED)), None)
    more = len(extras) - (alpha is not None)
    lost = (f"extra channels that aren't marked as alpha (={more}, ExtraSamples {extras})",) if more else ()
    deep = bits > 8 and photometric != _PALETTE
    return Samples(space=space, bits=16 if deep else 8, color=color, alpha=alpha, profiled=not lab, lost=lost)


def decode_samples(page: tifffile.TiffPage, meant: Samples) -> np.ndarray:
    """Return samples (h, w, c): the color space's channels, then alpha if there is any."""
    samples = page.asarray(maxworkers=1).reshape(page.shape)
    if page.planarconfig == 2 and samples.ndim == 3:
        samples = np.moveaxis(samples, 0, -1)
    samples = np.atleast_3d(samples)
    photometric = int(page.photometric)
    color = samples[..., : meant.color]
    alpha = None
    if meant.alpha is not None:
        alpha = _at_depth(samples[..., meant.color + meant.alpha, None], page, meant.bits)
    if photometric == _PALETTE:
        color = _of_palette(page, color[..., 0])
    elif photometric in (_CIELAB, _ICCLAB):
        color = lab_to_srgb(encoded_lab(color, signed=photometric == _CIELAB))
        color = color if meant.bits == 16 else eight_bits(color)
    else:
        color = _at_depth(color, page, meant.bits)
    if alpha is not None and int(page.extrasamples[meant.alpha or 0]) == _ASSOCIATED:
        color = _unassociated(color, alpha)
    if photometric == _WHITE_IS_ZERO:
        color = np.iinfo(color.dtype).max - color
    return color if alpha is None else np.concatenate((color, alpha), axis=-1)


def _space(page: tifffile.TiffPage) -> Space:
    photometric = int(page.photometric)
    if photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        return "GRAY"
    if photometric in (_RGB, _PALETTE, _CIELAB, _ICCLAB) or (photometric == _YCBCR and page.compression == _JPEG):
        return "RGB"
    if photometric == _CMYK:
        return "CMYK"
    raise InputError(
        f"the TIFF has another color space (={page.photometric!s}) than gray, RGB, CMYK or Lab; save it as RGB."
    )


def _at_depth(samples: np.ndarray, page: tifffile.TiffPage, bits: int) -> np.ndarray:
    """Stretch samples of the page's depth to 8 or 16 bits of full range."""
    if int(page.sampleformat) == _FLOAT:
        return full_range(samples, "the TIFF")
    stretched_samples = stretched(samples, page.bitspersample)
    return stretched_samples if bits == 16 else eight_bits(stretched_samples)


def _of_palette(page: tifffile.TiffPage, indices: np.ndarray) -> np.ndarray:
    """Return the colors of a palette, whose values are of 16 bits, or of 8 where none is larger, as libtiff has it."""
    assert page.colormap is not None, "palette without colors"
    colors = page.colormap.T
    return (colors >> 8 if colors.max() > 255 else colors).astype(np.uint8)[indices]


def _unassociated(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Divide premultiplied color by its alpha; color that can't be premultiplied is left as it is, which is logged."""
    top = int(np.iinfo(color.dtype).max)
    above = color.max(axis=-1, keepdims=True) > alpha + np.float32(top * _PREMULTIPLIED_SLACK)
    if above.mean() > _MISLABELED:
        remarks.warning(
            "the TIFF's alpha is marked as associated, and its color exceeds it; it is taken as unassociated."
        )
        return color
    return unassociated(color, alpha)
