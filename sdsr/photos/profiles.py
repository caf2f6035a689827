"""ICC profiles: into sRGB when a photo is read, back into its own profile when it is written, at 8 and at 16 bits.

Relative colorimetric with black point compensation, as photo editors do. Colors outside sRGB are clipped to it.
"""

from functools import cache, lru_cache

import imagecodecs
import numpy as np

from sdsr.photos.formats import CHANNELS, Space

_SIGNATURES: dict[Space, bytes] = {"GRAY": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}
_LUMA = (19595, 38470, 7471)  # Rec. 601 in 1/65536, summing to one: gray in is gray out, exactly


@lru_cache(maxsize=64)
def usable(icc: bytes, space: Space, *, backwards: bool = False) -> bool:
    """Return whether a profile fits the color space and can be computed with, here or on the way back."""
    if icc[16:20] != _SIGNATURES[space]:
        return False
    channels = 3 if backwards else CHANNELS[space]
    probe = np.full((2, 2, channels), 99, np.uint8)
    try:
        _transform(probe, icc, space, backwards=backwards)
    except (RuntimeError, TypeError, ValueError):
        return False
    return True


def to_srgb(samples: np.ndarray, icc: bytes | None, space: Space) -> np.ndarray:
    """Return sRGB (h, w, 3) of samples (h, w, c) in a color space, through its profile if there is one."""
    if icc is not None and not _is_srgb(icc, space):
        return _transform(samples, icc, space, backwards=False)
    if space == "CMYK":
        top = np.uint32(np.iinfo(samples.dtype).max)
        paper = top - samples.astype(np.uint32)
        return ((paper[..., :3] * paper[..., 3:] + top // 2) // top).astype(samples.dtype)
    return np.repeat(samples, 3, axis=2) if space == "GRAY" else samples


def from_srgb(pixels: np.ndarray, icc: bytes | None, space: Space) -> np.ndarray:
    """Return samples (h, w, c) of sRGB pixels (h, w, 3): the way back. CMYK needs its profile."""
    if space == "GRAY":
        pixels = neutral(pixels)
    if icc is not None and not _is_srgb(icc, space):
        return _transform(pixels, icc, space, backwards=True)
    assert space != "CMYK", "CMYK can't be made without a profile"
    return pixels[..., :1] if space == "GRAY" else pixels


def encoded_lab(samples: np.ndarray, *, signed: bool) -> np.ndarray:
    """Return L*a*b* in ICC's 16-bit encoding of version 4: of TIFF's own (signed a* and b*) or of ICC's version 2."""
    if samples.dtype.itemsize == 1:
        levels = samples.view(np.uint8) ^ np.array([0, 128, 128] if signed else [0, 0, 0], np.uint8)
        return levels * np.uint16(257)
    levels = samples.view(np.uint16) ^ np.array([0, 0x8000, 0x8000] if signed else [0, 0, 0], np.uint16)
    stretched = np.minimum(levels * (65535 / 65280), 65535)
    return np.rint(np.where([not signed, True, True], stretched, levels)).astype(np.uint16)


def lab_to_srgb(samples: np.ndarray) -> np.ndarray:
    """Return sRGB (h, w, 3) uint16 of CIE L*a*b* (D50) in ICC's encoding: uint16, L* 0 ... 100, a* and b* plus 128."""
    return imagecodecs.cms_transform(
        np.ascontiguousarray(samples),
        imagecodecs.cms_profile("lab4"),
        _srgb(),
        colorspace="lab",
        outcolorspace="rgb",
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
    )


def neutral(pixels: np.ndarray) -> np.ndarray:
    """Return the pixels without color: three equal channels."""
    weighted = sum(np.uint32(weight) * pixels[..., i] for i, weight in enumerate(_LUMA)) + np.uint32(1 << 15)
    return np.repeat((weighted >> 16).astype(pixels.dtype)[..., None], 3, axis=2)


@cache
def _srgb() -> bytes:
    return imagecodecs.cms_profile("srgb")


@lru_cache(maxsize=16)
def _is_srgb(icc: bytes, space: Space) -> bool:
    """Whether a profile changes no 8-bit color by more than one level: then pixels pass untouched."""
    if space == "CMYK":
        return False
    ramp = np.arange(0, 256, 15 if space == "RGB" else 1, dtype=np.uint8)
    grid = np.stack(np.meshgrid(*[ramp] * CHANNELS[space]), axis=-1).reshape(1, -1, CHANNELS[space])
    turned = _transform(grid, icc, space, backwards=False)
    return bool(np.abs(turned.astype(int) - grid).max() <= 1)


def _transform(samples: np.ndarray, icc: bytes, space: Space, *, backwards: bool) -> np.ndarray:
    flags = imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION
    if samples.dtype == np.uint16:
        flags |= imagecodecs.CMS.FLAGS.NOOPTIMIZE  # precomputed tables are off by up to 7 % in the shadows
    source, target = ((_srgb(), "rgb"), (icc, space.lower()))[:: 1 if backwards else -1]
    if not backwards and space == "GRAY":
        samples = samples[..., 0]
    turned = imagecodecs.cms_transform(
        np.ascontiguousarray(samples),
        source[0],
        target[0],
        colorspace=source[1],
        outcolorspace=target[1],
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=flags,
    )
    return np.atleast_3d(turned)
