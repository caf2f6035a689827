"""The expected error of a result, cell by cell, from what can be seen without the truth.

Three things tell: how much several passes disagree, how far the result is from its photo, and how busy the result is
(where nothing happens, nothing goes wrong). Their logarithms are weighed linearly; the weights are fitted to photos
whose truth is known (`fit`). What it says is an average over such photos, for one model and one kind of degradation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdsr.photos.luma import luma
from sdsr.photos.photo import Photo
from sdsr.trust.consistency import Consistency

CELL_PX = 8
_FLOOR = 0.5 / 255  # of a logarithm's argument: less than half a level is rounding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clues:
    """What is seen of a result in cells of `CELL_PX` pixels: maps (rows, columns), float32, 0 ... 1.

    `disagreement`: spread of the passes. `consistency`: difference to the photo. `busyness`: size of the gradient.
    """

    disagreement: np.ndarray
    consistency: np.ndarray
    busyness: np.ndarray

    @classmethod
    def of(cls, result: Photo, spread: np.ndarray, consistency: Consistency) -> "Clues":
        """Return the clues of a result; `spread` is that of `restoration.passes`, at the result's size."""
        down, across = np.gradient(luma(result))
        busyness = cell_means(np.hypot(across, down))
        return cls(
            disagreement=cell_means(spread),
            consistency=_spread_out(consistency.map, busyness.shape, result.size),
            busyness=busyness,
        )

    def logarithms(self) -> np.ndarray:
        """The clues as features of the fit: (cells, 4), the last column ones."""
        maps = (self.disagreement, self.consistency, self.busyness)
        columns = [np.log(np.maximum(values, _FLOOR)).ravel() for values in maps]
        return np.stack([*columns, np.ones_like(columns[0])], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedError:
    """Weights of the clues' logarithms (disagreement, consistency, busyness) and a constant."""

    weights: tuple[float, float, float, float]

    def map(self, clues: Clues) -> np.ndarray:
        """Return the expected mean absolute error of luma in each cell, 0 ... 1."""
        return np.exp(clues.logarithms() @ np.array(self.weights)).reshape(clues.busyness.shape).clip(0, 1)


def fit(clues: Sequence[Clues], errors: Sequence[np.ndarray]) -> ExpectedError:
    """Return the weights that explain the logarithms of true errors best, in least squares; each photo counts alike."""
    features = [each.logarithms() / np.sqrt(each.busyness.size) for each in clues]
    wanted = [np.log(np.maximum(error, _FLOOR)).ravel() / np.sqrt(error.size) for error in errors]
    solved, *_ = np.linalg.lstsq(np.concatenate(features), np.concatenate(wanted), rcond=None)
    first, second, third, constant = (float(weight) for weight in solved)
    return ExpectedError(weights=(first, second, third, constant))


def true_error(result: Photo, truth: Photo) -> np.ndarray:
    """Return the mean absolute error of luma in each cell, 0 ... 1."""
    return cell_means(np.abs(luma(result) - luma(truth)))


def cell_means(values: np.ndarray) -> np.ndarray:
    """Return means over cells of `CELL_PX`; those at the right and bottom border are as small as they come."""
    rows = np.add.reduceat(values, np.arange(0, values.shape[0], CELL_PX), axis=0)
    sums = np.add.reduceat(rows, np.arange(0, values.shape[1], CELL_PX), axis=1)
    heights, widths = (np.diff([*range(0, side, CELL_PX), side]) for side in values.shape)
    return (sums / (heights[:, None] * widths)).astype(np.float32)


def _spread_out(values: np.ndarray, cells: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return a map of the photo's size at the middle of each cell of a result of `size`."""
    rows, columns = (
        np.minimum((np.arange(count) + 0.5) * CELL_PX * length / side, length - 1).astype(int)
        for count, side, length in zip(cells, size, values.shape, strict=True)
    )
    return values[np.ix_(rows, columns)]
