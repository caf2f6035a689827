"""What the eye looks at first: how wide strong edges are, and whether combs run beside them. Luma, 0 ... 255.

PSNR, SSIM, NIQE and high-pass energy are blind to both: they prefer texture in the wrong shape to none.
"""

import math
from collections.abc import Iterator

import numpy as np

from sdsr.metrics.planes import Plane, Reduced, blurred
from sdsr.tensors import Bool, Float, Int

Mask = Bool[np.ndarray, "height width"]
Places = Int[np.ndarray, " n"]
Profiles = Float[np.ndarray, "n samples"]
Phases = dict[tuple[int, int], Plane]

NEAR_PX = 12
_WEAKEST_EDGE = 6  # gray levels per pixel
_SAMPLED_EDGES = 400
_FEWEST_EDGES = 25
_REACH_PX = 8.0
_STEP_PX = 0.25
_SWINGS = 6
_MARGIN_PX = 16
_AROUND_PX = 4


def edge_width(result: Plane, truth: Plane) -> float:
    """The median width of the truth's strongest straight edges in the result, over that in the truth.

    A width is the length along the truth's gradient on which a profile of 16 px lies between 15 and 85 % of its own
    rise. 1 is as sharp as the truth, above is blur. NaN where the truth has no strong edge.
    """
    across, down = _gradient(truth)
    strength = np.hypot(across, down)
    strong = _strong(strength)
    if strong.sum() < _FEWEST_EDGES:
        return math.nan
    rows, columns = np.nonzero(strong & (strength >= np.percentile(strength[strong], 60)))
    chosen = np.random.default_rng(0).permutation(len(rows))[:_SAMPLED_EDGES]
    rows = rows[chosen]
    columns = columns[chosen]
    normal = np.stack([down[rows, columns], across[rows, columns]]) / strength[rows, columns]
    widths = [_median_width(_profiles(image, rows, columns, normal)) for image in (result, truth)]
    return widths[0] / max(widths[1], _STEP_PX)


def _gradient(image: Plane) -> tuple[Plane, Plane]:
    """Sobel's derivatives of the slightly blurred image, gray levels per pixel, the border repeated."""
    padded = np.pad(blurred(image, 1.0), 1, mode="edge")
    across = padded[:, 2:] - padded[:, :-2]
    down = padded[2:] - padded[:-2]
    return (
        (across[:-2] + 2 * across[1:-1] + across[2:]) / 8,
        (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 8,
    )


def _strong(strength: Plane) -> Mask:
    """The steepest fiftieth of an image, if it is steep at all."""
    return strength > max(np.percentile(strength, 98), _WEAKEST_EDGE)


def _profiles(image: Plane, rows: Places, columns: Places, normal: Float[np.ndarray, "2 n"]) -> Profiles:
    """The values along the normal through each place, bilinear, the border repeated."""
    distance = np.arange(-_REACH_PX, _REACH_PX + _STEP_PX / 2, _STEP_PX)
    y = np.clip(rows[:, None] + normal[0][:, None] * distance, 0, image.shape[0] - 1)
    x = np.clip(columns[:, None] + normal[1][:, None] * distance, 0, image.shape[1] - 1)
    top = y.astype(int)
    left = x.astype(int)
    below = y - top
    right = x - left
    next_row = np.minimum(top + 1, image.shape[0] - 1)
    next_column = np.minimum(left + 1, image.shape[1] - 1)
    upper = image[top, left] * (1 - right) + image[top, next_column] * right
    lower = image[next_row, left] * (1 - right) + image[next_row, next_column] * right
    return upper * (1 - below) + lower * below


def _median_width(profiles: Profiles) -> float:
    low, high = (np.percentile(profiles, percent, axis=1)[:, None] for percent in (5, 95))
    risen = (profiles - low) / np.maximum(high - low, 1)
    return float(np.median(((risen > 0.15) & (risen < 0.85)).sum(axis=1)) * _STEP_PX)


def combs(result: Plane, truth: Plane) -> float:
    """How strongly the result alternates near the truth's strong edges where the truth doesn't, mean gray levels.

    Combs, meshes and repeated contours swing up and down several times at a period of 3 to 8 px; a displaced edge, a
    line, a halo and blur don't. So a pixel's alternation is the weakest of six swings in a row through it
    (`alternation`), and what the truth has within 4 px is taken off. 0 is clean, above 0.1 is seen at once. Film grain
    of 2 gray levels on a truth without any counts 0.1; contours that fade within two periods count little. NaN where
    the truth has no strong edge.
    """
    near = _grown(_strong(np.hypot(*_gradient(truth))), NEAR_PX)
    if not near.any():
        return math.nan
    excess = alternation(result) - _largest_around(alternation(truth), _AROUND_PX)
    return float(np.maximum(excess[near], 0).mean())


def alternation(image: Plane) -> Plane:
    """The weakest of six swings of alternating sign, half a period apart, in the best direction and period.

    Swings are of the high-pass image - Gauss(2 px); directions are rows, columns and both diagonals, periods 3 to 8 px.
    0 where the signs don't alternate, so a single edge or line is 0.
    """
    phases = _half_pixel_phases(np.pad(image - blurred(image, 2.0), _MARGIN_PX, mode="edge"))
    strongest = np.zeros_like(image)
    for down, across in _half_periods():
        lowest = np.full_like(image, np.inf)
        highest = np.full_like(image, -np.inf)
        for swing in range(-(_SWINGS // 2), _SWINGS - _SWINGS // 2):
            values = _moved(phases, swing * down, swing * across, image.shape)
            values = -values if swing % 2 else values
            np.minimum(lowest, values, out=lowest)
            np.maximum(highest, values, out=highest)
        np.maximum(strongest, np.maximum(lowest, -highest), out=strongest)
    return strongest


def _half_periods() -> Iterator[tuple[int, int]]:
    """Half a period as a step down and across, in half pixels."""
    for step in range(3, 9):
        yield 0, step
        yield step, 0
    for step in range(2, 7):
        yield step, step
        yield step, -step


def _half_pixel_phases(padded: Plane) -> Phases:
    """The image, and the image moved by half a pixel down, across, and both, cubic."""
    phases = {(0, 0): padded, (1, 0): _half_pixel_on(padded, axis=0)}
    return phases | {(row, 1): _half_pixel_on(phase, axis=1) for (row, _), phase in phases.items()}


def _half_pixel_on(image: Plane, axis: int) -> Plane:
    before, after, later = (np.roll(image, by, axis=axis) for by in (1, -1, -2))
    return (9 * (image + after) - before - later) / 16


def _moved(phases: Phases, down: int, across: int, shape: tuple[int, ...]) -> Reduced:
    """The values `down` and `across` half pixels away from each pixel."""
    top = _MARGIN_PX + down // 2
    left = _MARGIN_PX + across // 2
    return phases[down % 2, across % 2][top : top + shape[0], left : left + shape[1]]


def _grown(mask: Mask, radius_px: int) -> Mask:
    """The pixels within that many steps to a neighbor above, below or beside."""
    for _ in range(radius_px):
        padded = np.pad(mask, 1)
        mask = mask | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
    return mask


def _largest_around(image: Plane, radius_px: int) -> Plane:
    """The largest value of the square around each pixel."""
    for axis in (0, 1):
        margins = [(radius_px, radius_px) if axis == each else (0, 0) for each in (0, 1)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, margins), 2 * radius_px + 1, axis=axis)
        image = windows.max(axis=-1)
    return image
