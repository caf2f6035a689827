"""Color that a file describes in numbers instead of a profile: as an ICC profile, or None where it is sRGB.

Sources: PNG specification, third edition (W3C 2025), 11.3.2 (cICP, sRGB, gAMA, cHRM); ITU-T H.273 (2024), tables 2-4.
"""

import struct
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np

from sdsr.errors import InputError
from sdsr.photos.formats import Space

Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""x and y of white, red, green and blue, in the order of a cHRM chunk."""

_D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
DCI_WHITE = (0.314, 0.351)
SRGB_PRIMARIES: Chromaticities = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB_PRIMARIES,
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (*DCI_WHITE, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
_HDR = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2
_SRGB_TRANSFER = 13
_SRGB_GAMMA = 0.45455
_INSIGNIFICANT = 0.05  # share by which an encoding gamma may differ from sRGB's, as libpng has it
_NEAR = 0.002  # in x and y: sRGB's primaries, as rounded by other programs
_CURVE_POINTS = 4096


def of_code_points(body: bytes, space: Space) -> tuple[bool, bytes | None]:
    """Return (whether it says what color this is, the profile) of a cICP chunk: primaries, transfer, matrix, range.

    Raises InputError for high dynamic range (PQ, HLG) and for video range; ValueError for what means nothing in RGB.
    """
    primaries, transfer, matrix, full_range = struct.unpack(">4B", body)
    if transfer in _HDR:
        raise InputError(
            f"the photo is HDR (={_HDR[transfer]}), limit SDR; export it with tone mapping, as sRGB or Display P3."
        )
    if not full_range:
        raise InputError("the photo holds video levels (=narrow range), limit full range; export it as sRGB.")
    if _UNSPECIFIED in (primaries, transfer):
        return False, None
    curve = _GAMMAS.get(transfer) or _CURVES.get(transfer)
    if matrix != 0 or primaries not in PRIMARIES or curve is None:
        raise ValueError(f"cICP code points {primaries}, {transfer}, {matrix} are no known RGB")
    if transfer == _SRGB_TRANSFER and (primaries == 1 or space == "GRAY"):
        return True, None
    return True, _profile(PRIMARIES[primaries], curve, space)


def of_gamma(
    gamma: float | None, chromaticities: Chromaticities | None, space: Space, *, exact: bool = False
) -> bytes | None:
    """Return the profile of an encoding gamma (about 0.45455 in most files) and chromaticities; None each is sRGB's.

    A gamma near sRGB's stands for its curve where the primaries are sRGB's, too, as every program that writes it
    means, unless it is to be taken as `exact`. Raises ValueError for numbers that describe no color.
    """
    if gamma is not None and not 0.01 <= gamma <= 10:
        raise ValueError(f"a gamma of {gamma:.5g}")
    alike = gamma is None or (not exact and abs(gamma / _SRGB_GAMMA - 1) < _INSIGNIFICANT)
    usual = (
        chromaticities is None
        or space == "GRAY"
        or bool(np.abs(np.subtract(chromaticities, SRGB_PRIMARIES)).max() <= _NEAR)
    )
    if alike and usual:
        return None
    curve = 1 / gamma if gamma is not None else srgb_curve
    return _profile(SRGB_PRIMARIES if usual or chromaticities is None else chromaticities, curve, space)


def _profile(chromaticities: Chromaticities, curve: float | Callable[[np.ndarray], np.ndarray], space: Space) -> bytes:
    x = np.array(chromaticities[::2])
    y = np.array(chromaticities[1::2])
    if not (np.isfinite(x + y).all() and (x >= 0).all() and (y > 0).all() and (x + y <= 1.5).all()):
        raise ValueError("chromaticities outside the plane of colors")
    corners = np.stack((x[1:], y[1:], np.ones(3)))
    if space == "RGB" and (
        abs(np.linalg.det(corners)) < 1e-3 or (np.linalg.solve(corners, [x[0], y[0], 1]) <= 0).any()
    ):
        raise ValueError("a white that its primaries can't mix")
    light: dict[str, Any] = {"gamma": curve}
    if callable(curve):
        light = {"transferfunction": curve(np.linspace(0, 1, _CURVE_POINTS)).astype(np.float32)}
    if space == "GRAY":
        return imagecodecs.cms_profile("gray", **light)
    return imagecodecs.cms_profile("rgb", whitepoint=chromaticities[:2], primaries=chromaticities[2:], **light)


def srgb_curve(values: np.ndarray) -> np.ndarray:
    """Return the light that sRGB's values stand for."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _bt709_curve(values: np.ndarray) -> np.ndarray:
    return np.where(values < 4.5 * 0.018, values / 4.5, ((values + 0.099) / 1.099) ** (1 / 0.45))


def _smpte240m_curve(values: np.ndarray) -> np.ndarray:
    return np.where(values < 4 * 0.0228, values / 4, ((values + 0.1115) / 1.1115) ** (1 / 0.45))


_CURVES = {
    1: _bt709_curve,
    6: _bt709_curve,
    7: _smpte240m_curve,
    11: _bt709_curve,
    12: _bt709_curve,
    13: srgb_curve,
    14: _bt709_curve,
    15: _bt709_curve,
}
