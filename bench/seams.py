"""Seams: whether a picture changes faster across the borders of its windows than beside them.

Content changes, too. So each border is compared with its own surroundings only, its strong edges count no more than its
quiet places, and all is divided by a picture of the same content without borders there, if there is one: alone, a photo
departs from 1 by 0.1 and more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sdsr.errors import InputError
from sdsr.metrics.planes import Plane
from sdsr.tensors import Float, Region

STEP_PX = 8
STEPS = 4
_LEAST = 0.5
Surroundings = Float[np.ndarray, "borders places"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Borders:
    """The first rows and columns behind borders that cross the whole picture."""

    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """The gradient across borders over that beside them: 1 is no seam.

    `spread` is how far it may be from 1 by content alone (one standard deviation), told from the places beside.
    """

    ratio: float
    spread: float


def borders_of(windows: Iterable[Region], size: tuple[int, int]) -> Borders:
    """Where windows in a grid begin or end inside a picture of (height, width)."""
    height, width = size
    covered = tuple(windows)
    rows = {row for each in covered for row in (each.top, each.bottom) if 0 < row < height}
    columns = {column for each in covered for column in (each.left, each.right) if 0 < column < width}
    return Borders(rows=tuple(sorted(rows)), columns=tuple(sorted(columns)))


def seam(picture: Plane, borders: Borders, reference: Plane | None = None) -> Seam:
    """The gradient across borders over that of up to four places on each side, 8 px apart; all borders count alike.

    A gradient is the geometric mean of absolute differences along the border, half a level (of 255) added to each.
    8 px, so that traces of an autoencoder's cells, on which borders lie, are on both sides of the ratio. `reference`,
    the same content without these borders, divides the gradients of each place.
    Raises InputError where no border has a place beside it.
    """
    measured = _gradients(picture, borders)
    if reference is not None:
        assert reference.shape == picture.shape, "picture and reference are of one size"
        measured = measured / _gradients(reference, borders)
    beside = np.delete(measured, STEPS, axis=1)
    known = ~np.isnan(beside).all(axis=1)
    if not known.any():
        raise InputError(f"borders (={borders}) are too near to each other or to the edge; give a larger picture.")
    usual = np.nanmean(beside[known], axis=1)
    departures = np.nanstd(beside[known] / usual[:, None], ddof=1)
    return Seam(ratio=float(np.mean(measured[known, STEPS] / usual)), spread=float(departures / np.sqrt(known.sum())))


def _gradients(picture: Plane, borders: Borders) -> Surroundings:
    """A line for each border: the gradient across it in the middle, those at the places beside it around."""
    down = _around(picture.T, borders.rows)
    across = _around(picture, borders.columns)
    return np.concatenate((down, across))


def _around(picture: Plane, columns: Sequence[int]) -> Surroundings:
    """NaN stands where a place is outside the picture, or on another border."""
    gradient = np.exp(np.log(np.abs(np.diff(picture, axis=1)) + _LEAST).mean(0))
    places = np.array(columns, int)[:, None] + STEP_PX * np.arange(-STEPS, STEPS + 1) - 1
    missing = (places < 0) | (places >= len(gradient)) | np.isin(places + 1, columns)
    missing[:, STEPS] = False
    return np.where(missing, np.nan, gradient[np.where(missing, 0, places)])
