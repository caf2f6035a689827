"""JPEG XL in and out. Sources: ISO/IEC 18181-1 (codestream, annex D) and 18181-2 (container, annex A).

libjxl codes the picture alone; the head of its codestream is read here, and the container that holds the metadata is
read and written here. An ICC profile stands in the entropy-coded part and is out of reach: such files are refused.
"""

import struct
from io import BufferedIOBase

import imagecodecs
import numpy as np

from sdsr.errors import InputError
from sdsr.photos.boxes import box, boxes
from sdsr.photos.depths import stretched, unassociated
from sdsr.photos.described import DCI_WHITE, PRIMARIES, SRGB_PRIMARIES, of_code_points, of_gamma, srgb_curve
from sdsr.photos.formats import Space
from sdsr.photos.jxl_header import LINEAR, SRGB, Color, Head, read_head, with_srgb_transfer
from sdsr.photos.layout import Layout
from sdsr.photos.metadata import upright_metadata
from sdsr.photos.opened import Opened
from sdsr.photos.remarks import Remarks

remarks = Remarks(__name__)

_SIGNATURE = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
_METADATA_BYTES = 16 << 20  # metadata that unpacks to more is left out
_PRIMARIES = {1: 1, 9: 9, 11: 12}  # of JPEG XL, in the numbers of ITU-T H.273
_WHITES = {1: SRGB_PRIMARIES[:2], 10: (1 / 3, 1 / 3), 11: DCI_WHITE}
_EFFORT = 5  # more takes two to ten times the time for 1 to 10 %
_LOSSLESS_EFFORT = 3


def open_jxl(data: bytes) -> Opened:
    """Open a JPEG XL of 1 to 16 bits. Raises InputError for animations, HDR, and profiles that are out of reach."""
    codestream, found = _parts(data)
    head = read_head(codestream)
    space: Space = "GRAY" if head.color.gray else "RGB"
    _, exif, xmp = upright_metadata(_exif(found.get(b"Exif")), found.get(b"xml "))  # the codestream alone says how
    return Opened(
        format="JXL",
        width=head.width,
        height=head.height,
        bits=head.bits,
        space=space,
        alpha=head.alpha,
        icc=None,
        exif=exif,
        xmp=xmp,
        dpi=None,
        orientation=head.orientation,
        described=_described(head.color, space),
        lossless=not head.lossy and b"jbrd" not in found,  # which is how to get back the JPEG that it was
        decode=lambda: _decode(data, head),
    )


def _parts(data: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the codestream, or its first part, and the other boxes, unpacked."""
    if data[:2] == b"\xff\x0a":
        return data, {}
    found: dict[bytes, bytes] = {}
    for kind, start, end in boxes(data):
        if kind == b"brob":
            kind = data[start : start + 4]
            body = _unpacked(data[start + 4 : end])
        else:
            body = data[start:end]
        if body is not None:
            found.setdefault(kind, body)
    return (found[b"jxlc"] if b"jxlc" in found else found[b"jxlp"][4:]), found


def _unpacked(packed: bytes) -> bytes | None:
    try:
        return bytes(imagecodecs.brotli_decode(packed, out=_METADATA_BYTES))
    except RuntimeError as error:
        remarks.warning("metadata of the JPEG XL can't be unpacked (%s) and is left out.", error)
        return None


def _exif(body: bytes | None) -> bytes | None:
    """Return the EXIF block of a box, which begins with the number of bytes to pass over."""
    if body is None or len(body) < 4:
        return None
    return body[4 + struct.unpack_from(">I", body)[0] :] or None


def _described(color: Color, space: Space) -> bytes | None:
    """Return the profile of the color that the head describes; None for sRGB."""
    if color.profile:
        raise InputError("the JPEG XL has an ICC profile, which can't be read yet; save it as PNG, TIFF or AVIF.")
    codes = _PRIMARIES.get(color.primaries) if isinstance(color.primaries, int) else None
    usual = color.white == 1 or (color.white == 11 and codes == 12)
    if codes is not None and usual and color.gamma is None:
        code_points = struct.pack(">4B", 11 if color.white == 11 else codes, color.transfer, 0, 1)
        known, profile = of_code_points(code_points, space)
        if known:
            return profile
    gamma = {SRGB: None, LINEAR: 1.0}.get(color.transfer, 0.0) if color.gamma is None else color.gamma
    white = _WHITES[color.white] if isinstance(color.white, int) else color.white
    primaries = PRIMARIES[_PRIMARIES[color.primaries]][2:] if isinstance(color.primaries, int) else color.primaries
    chromaticities = (*white, *primaries)
    assert len(chromaticities) == 8, "a white and three primaries"
    return of_gamma(gamma, chromaticities, space, exact=True)


def _decode(data: bytes, head: Head) -> np.ndarray:
    samples = stretched(np.atleast_3d(imagecodecs.jpegxl_decode(data, keeporientation=True)), head.bits)
    if head.alpha and head.associated:
        color = samples[..., :-1]
        alpha = samples[..., -1:]
        samples = np.concatenate((unassociated(color, alpha), alpha), axis=-1)
    return samples


def write_jxl(file: BufferedIOBase, layout: Layout) -> None:
    """Write a JPEG XL in sRGB. Holds the coded file, and samples that are not the photo's own."""
    codestream, found = _parts(_encode(layout))
    if read_head(codestream).color.transfer == LINEAR:
        codestream = with_srgb_transfer(codestream)
    exif = layout.exif
    xmp = layout.photo.traits.xmp
    level = box(b"jxll", found[b"jxll"]) if b"jxll" in found else b""
    kept = (box(b"Exif", bytes(4) + exif) if exif else b"") + (box(b"xml ", xmp) if xmp else b"")
    if level or kept:
        file.write(_SIGNATURE + level + kept + box(b"jxlc", codestream))
    else:
        file.write(codestream)


def _encode(layout: Layout) -> bytes:
    samples = layout.whole()
    if layout.bits == 16 and not layout.lossless:
        samples = _linear(samples, channels=samples.shape[2] - (layout.photo.alpha is not None))
    return bytes(
        imagecodecs.jpegxl_encode(
            samples[..., 0] if samples.shape[2] == 1 else samples,
            lossless=layout.lossless,
            distance=None if layout.lossless else _distance(layout.quality),
            effort=_LOSSLESS_EFFORT if layout.lossless else _EFFORT,
        )
    )


def _linear(samples: np.ndarray, *, channels: int) -> np.ndarray:
    """Return sRGB samples of 16 bits in linear light, which is what the encoder takes 16 bits for."""
    table = np.rint(srgb_curve(np.arange(65536) / 65535) * 65535).astype(np.uint16)
    linear = samples.copy()
    linear[..., :channels] = table[samples[..., :channels]]
    return linear


def _distance(quality: int) -> float:
    """Return libjxl's distance for a quality as its own programs have it: 90 is 1, visually lossless."""
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25
