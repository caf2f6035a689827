"""Which range samples are in: what their type says, or else an error that names the range that was seen."""

import numpy as np

from sdsr.errors import InputError

_ROUNDING = 0.5 / 65535  # what clipping changes at no depth
_TOP = 65535


def full_range(samples: np.ndarray, what: str) -> np.ndarray:
    """Return samples as uint8 or uint16 of full range: bool and uint8 as 8 bits, floats in [0, 1] as 16.

    Raises InputError, which calls the picture `what`, for floats outside [0, 1] and for other types.
    """
    dtype = samples.dtype
    if dtype == np.bool_:
        return samples.astype(np.uint8) * np.uint8(255)
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return samples.astype(np.uint8 if dtype.itemsize == 1 else np.uint16, copy=False)  # in this machine's order
    if dtype.kind == "f":
        return _of_floats(samples, what)
    seen = f"{dtype}, {samples.min()} ... {samples.max()}" if dtype.kind in "iu" else f"{dtype}"
    raise InputError(
        f"{what} (={seen}) must hold uint8, uint16 or floats in [0, 1]; convert it to the type of its range."
    )


def sixteen_bits(levels: np.ndarray, what: str) -> np.ndarray:
    """Return 32-bit integers as uint16, where only 16 bits can be meant.

    Raises InputError for what doesn't fit, and for 0 ... 255, which are 8 bits or a nearly black picture of 16.
    """
    low = int(levels.min())
    high = int(levels.max())
    if low < 0 or high > _TOP:
        raise InputError(f"{what} (={low} ... {high}) must be in 0 ... {_TOP}; scale it and convert it to 16 bits.")
    if high <= 255:
        raise InputError(
            f"{what} (={low} ... {high}) holds 8 bits or a nearly black picture of 16, which can't be told apart;"
            " convert it to 8 bits (L, uint8) or 16 (I;16, uint16)."
        )
    return levels.astype(np.uint16)


def _of_floats(samples: np.ndarray, what: str) -> np.ndarray:
    values = samples.astype(np.float32)
    broken = int(np.count_nonzero(~np.isfinite(values)))
    if broken:
        raise InputError(f"{what} holds NaN or infinity (={broken} values), limit 0; replace them.")
    low = float(values.min())
    high = float(values.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise InputError(
            f"{what} (={low:.5g} ... {high:.5g}) must be in 0 ... 1; divide 0 ... 255 by 255, turn -1 ... 1 into"
            " (x + 1) / 2, and clip what overshoots."
        )
    return np.rint(values.clip(0, 1) * np.float32(_TOP)).astype(np.uint16)
