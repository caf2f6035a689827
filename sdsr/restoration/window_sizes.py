"""How large the windows of a canvas are: as the method has them, and no larger than the memory allows."""

from dataclasses import dataclass

from sdsr.errors import InputError
from sdsr.prior.facts import Facts
from sdsr.restoration.canvas import LEAST_MULTIPLES, Canvas

WINDOW_STEP_PX = 64
WHOLE_CANVAS = 1.25
"""A canvas of a method that takes any size is one window up to so many sides of the windows of larger ones.

A photo of 128 px enlarged four times, and its margin, has 576 px: four windows of 512 px take three times as long.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSize:
    """The side of the windows of a canvas and what neighbors share, in multiples of the canvas's own multiple."""

    window_px: int
    overlap_px: int


def window_size(
    method: Canvas, canvas: tuple[int, int], *, facts: Facts, memory_bytes: int | None = None
) -> WindowSize:
    """Return the windows of a canvas of (height, width): one if it fits in it, else the method's own, or the prior's.

    These are as large as what the prior was trained on. Raises InputError where memory doesn't suffice for the
    smallest.
    """
    multiple_px = facts.multiple_px
    window = window_px(method, canvas, facts=facts, memory_bytes=memory_bytes)
    if window >= max(canvas):
        return WindowSize(window_px=window, overlap_px=0)
    own = method.overlap_px
    overlap = _up(own, multiple_px) if own else window // 4 // multiple_px * multiple_px
    return WindowSize(window_px=window, overlap_px=min(max(multiple_px, overlap), window - multiple_px))


def least_window_px(method: Canvas, facts: Facts) -> int:
    """Return the side of the smallest windows: as small as the network can do by steps, or those the method wants."""
    least = max(WINDOW_STEP_PX, LEAST_MULTIPLES * facts.multiple_px)
    return max(least, _up(method.native_px or least, facts.multiple_px))


def most_window_px(method: Canvas, facts: Facts) -> int:
    """Return the side of the largest windows: those of larger canvases, or a canvas that is one window."""
    side = _usual_window_px(method, facts)
    if method.window_px is None and method.native_px is None:
        return max(side, int(WHOLE_CANVAS * side) // facts.multiple_px * facts.multiple_px)
    return side


def window_px(method: Canvas, canvas: tuple[int, int], *, facts: Facts, memory_bytes: int | None = None) -> int:
    """Return the side of the windows: the longer side of a small canvas, else the largest that memory allows.

    Raises InputError where that is less than the smallest.
    """
    least = least_window_px(method, facts)
    most = most_window_px(method, facts)
    if memory_bytes is not None:
        allowed = int((memory_bytes / facts.bytes_per_px) ** 0.5) // WINDOW_STEP_PX * WINDOW_STEP_PX
        if allowed < least:
            needed = facts.bytes_per_px * least**2 // 2**20 + 1
            raise InputError(f"memory (={memory_bytes // 2**20} MiB) must be at least {needed} MiB; allow more.")
        most = min(most, allowed // facts.multiple_px * facts.multiple_px)
    whole = max(_up(side, facts.multiple_px) for side in canvas)
    return whole if whole <= most else min(most, _usual_window_px(method, facts))


def _usual_window_px(method: Canvas, facts: Facts) -> int:
    """The side of the windows of a large canvas: the method's own, or those that the prior was trained on."""
    return max(_up(method.window_px or facts.native_px, facts.multiple_px), least_window_px(method, facts))


def _up(side: int, multiple: int) -> int:
    return side + -side % multiple
