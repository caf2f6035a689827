"""How large the windows of a canvas are: as the method has them, and no larger than the memory allows."""

from dataclasses import dataclass

from sdsr.errors import InputError
from sdsr.restoration.canvas import LEAST_MULTIPLES, Canvas

MAX_WINDOW_PX = 1024
WINDOW_STEP_PX = 64
BYTES_PER_WINDOW_PX = 2000
"""Activations and weights in flight for each pixel of a window, on the safe side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSize:
    """The side of the windows of a canvas and what neighbors share, in multiples of the canvas's own multiple."""

    window_px: int
    overlap_px: int


def window_size(
    method: Canvas, canvas: tuple[int, int], *, multiple_px: int, memory_bytes: int | None = None
) -> WindowSize:
    """Return the windows of a canvas of (height, width): one if it fits in it, else the method's own, or the largest.

    Raises InputError where memory doesn't suffice for the smallest.
    """
    least_px = least_window_px(method, multiple_px)
    window = window_px(canvas, memory_bytes, multiple_px, least_px=least_px)
    window = min(window, _up(method.window_px or MAX_WINDOW_PX, multiple_px))
    if window >= max(canvas):
        return WindowSize(window_px=window, overlap_px=0)
    own = method.overlap_px
    overlap = _up(own, multiple_px) if own else window // 4 // multiple_px * multiple_px
    return WindowSize(window_px=window, overlap_px=min(max(multiple_px, overlap), window - multiple_px))


def least_window_px(method: Canvas, multiple_px: int) -> int:
    """Return the side of the smallest windows: as small as the UNet can do, or those the prior was trained on."""
    least = LEAST_MULTIPLES * multiple_px
    return max(least, _up(method.native_px or least, multiple_px))


def window_px(
    canvas: tuple[int, int], memory_bytes: int | None, multiple_px: int, *, least_px: int | None = None
) -> int:
    """Return the side of the windows: the longer side of a small canvas, else what memory allows.

    Raises InputError where that is less than `least_px`, by default as small as the UNet can do.
    """
    least, most = least_px or LEAST_MULTIPLES * multiple_px, MAX_WINDOW_PX
    if memory_bytes is not None:
        most = int((memory_bytes / BYTES_PER_WINDOW_PX) ** 0.5) // WINDOW_STEP_PX * WINDOW_STEP_PX
        if most < least:
            needed = BYTES_PER_WINDOW_PX * least**2 // 2**20 + 1
            raise InputError(f"memory (={memory_bytes // 2**20} MiB) must be at least {needed} MiB; allow more.")
        most = min(most, MAX_WINDOW_PX)
    return min(most, max(_up(side, multiple_px) for side in canvas))


def _up(side: int, multiple: int) -> int:
    return side + -side % multiple
