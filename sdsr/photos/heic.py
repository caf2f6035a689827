"""Open HEIC, as phones write it, by pillow-heif (extra `heic`); what is made of it is a PNG.

Its container is AVIF's, and says the same of the photo; libheif decodes the picture alone, cropped and turned as the
container says. Written it isn't. Source: ISO/IEC 23008-12, annex B; ISO/IEC 14496-15, 8.3.3.1 (hvcC).
"""

import io
from typing import TYPE_CHECKING

import numpy as np

from sdsr.errors import InputError
from sdsr.photos.companions import GAIN_MAP
from sdsr.photos.depths import stretched, unassociated
from sdsr.photos.heif import Items, read_items
from sdsr.photos.heif_photo import color, metadata, required
from sdsr.photos.metadata import upright_metadata
from sdsr.photos.opened import Opened

if TYPE_CHECKING:
    from pillow_heif import HeifFile


def open_heic(data: bytes) -> Opened:
    """Open a HEIC of one photo, 8 to 12 bits. Raises InputError without the extra, for HDR and for other coding."""
    items = read_items(data)
    photo = items.items[items.primary]
    bits, gray = _depth(items)
    icc, described, lossless = color(photo, "GRAY" if gray else "RGB")
    _, exif, xmp = upright_metadata(*metadata(items))  # the container alone says how it is turned
    picture = _opened(data)
    alpha = picture.has_alpha
    width, height = picture.size
    return Opened(
        format="PNG",
        width=width,
        height=height,
        bits=bits,
        space="GRAY" if gray else "RGB",
        alpha=alpha,
        icc=icc,
        exif=exif,
        xmp=xmp,
        dpi=None,
        described=described,
        lossless=lossless,
        lost=(GAIN_MAP,) if _has_gain_map(items) else (),
        decode=lambda: _decode(picture, bits),
    )


def _depth(items: Items) -> tuple[int, bool]:
    """Return the bits a channel, and whether there is no color: of the photo's coding, or of a grid's first tile's."""
    photo = items.items[items.primary]
    tile = items.items[photo.references[b"dimg"][0]] if photo.kind == b"grid" else photo
    if tile.kind != b"hvc1":
        raise InputError(f"the HEIC is coded as {tile.kind!r}, limit HEVC; export it as PNG or AVIF.")
    coding = required(tile, b"hvcC")
    return 8 + (coding[17] & 7), coding[16] & 3 == 0


def _has_gain_map(items: Items) -> bool:
    kinds = {item.kind for item in items.items.values()}
    beside = [item.property(b"auxC") or b"" for item in items.items.values()]
    return b"tmap" in kinds or any(b"hdrgainmap" in name for name in beside)


def _opened(data: bytes) -> "HeifFile":
    """Return the file as libheif has it: its header is read, its samples are not."""
    try:
        import pillow_heif
    except ImportError as error:
        raise InputError(
            "the photo is a HEIC, which pillow-heif reads, and that is not installed; run: pip install 'sdsr[heic]', or"
            " export the photo as JPEG, PNG or AVIF (heif-convert PHOTO.heic PHOTO.png)."
        ) from error
    return pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=False)


def _decode(picture: "HeifFile", bits: int) -> np.ndarray:
    samples = stretched(np.atleast_3d(np.asarray(picture)), bits)
    if not picture.premultiplied_alpha:
        return samples
    return np.concatenate([unassociated(samples[..., :-1], samples[..., -1:]), samples[..., -1:]], axis=-1)
