"""Samples of any depth as 8 or 16 bits of full range and back, and color freed of its alpha."""

import numpy as np


def stretched(samples: np.ndarray, bits: int) -> np.ndarray:
    """Return samples of 1 to 16 bits at full range: of 8 bits up to 8, else of 16."""
    if bits in (8, 16):
        return samples
    top = np.uint32(255 if bits < 8 else 65535)
    bottom = np.uint32(2**bits - 1)
    return ((samples.astype(np.uint32) * top + bottom // 2) // bottom).astype(np.uint8 if bits < 8 else np.uint16)


def narrowed(samples: np.ndarray, bits: int) -> np.ndarray:
    """Return samples of 16 bits rounded to fewer, 9 to 16; the way back from `stretched`."""
    if bits in (8, 16):
        return samples
    top = np.uint32(2**bits - 1)
    return ((samples.astype(np.uint32) * top + 32767) // 65535).astype(np.uint16)


def eight_bits(samples: np.ndarray) -> np.ndarray:
    """Return 8 or 16 bits rounded to 8."""
    if samples.dtype == np.uint8:
        return samples
    return ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def unassociated(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return color (h, w, c) that was multiplied by its alpha (h, w, 1) divided by it."""
    top = int(np.iinfo(color.dtype).max)
    straight = color.astype(np.float32) * top / np.maximum(alpha, 1)
    return np.rint(np.minimum(straight, top)).astype(color.dtype)
