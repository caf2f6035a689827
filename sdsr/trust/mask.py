"""A calibrated mask: which part of a result may be shown as "on average no further from the truth than x".

Unmasked are the cells whose expected error is at most a threshold. The threshold is the largest one for which an upper
confidence bound of the risk stays below x on calibration photos (risk-controlling prediction sets, arXiv:2101.02703;
for diffusion restorers arXiv:2502.09664). The risk of a photo is the mean true error of its unmasked cells, counted up
to `WORST` times x, made monotone by the largest value at any smaller threshold. The bound is the betting bound of
arXiv:2010.09686. It holds for photos drawn as the calibration photos were; of others it promises nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdsr.errors import InputError

WORST = 4.0
"""A photo's risk is counted up to this many times what is promised; the nearer, the tighter a bound of few photos."""
LEAST_PHOTOS = 10
THRESHOLDS = np.geomspace(0.5 / 255, 1.0, 240)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """In the part whose expected error is at most `threshold`, the mean error is below `error` with `confidence`.

    `threshold` is 0 where nothing can be promised: then all is masked.
    """

    error: float
    confidence: float
    threshold: float
    photos: int


def unmasked(expected: np.ndarray, threshold: float) -> np.ndarray:
    """Return which cells may be shown under a threshold, bool."""
    return expected <= threshold


def calibrate(
    expected: Sequence[np.ndarray], errors: Sequence[np.ndarray], *, error: float, confidence: float
) -> Calibration:
    """Return the calibration for a mean error below `error`, from maps of photos whose truth is known.

    Raises InputError for an error or confidence outside of 0 ... 1, or fewer than ten photos.
    """
    for name, value in (("error", error), ("confidence", confidence)):
        if not 0 < value < 1:
            raise InputError(f"{name} (={value}) must be between 0 and 1; try 0.03 and 0.9.")
    if len(expected) < LEAST_PHOTOS:
        raise InputError(f"photos (={len(expected)}) must be at least {LEAST_PHOTOS} to calibrate on; give more.")
    worst = WORST * error
    risks = np.stack([risk_curve(*pair) for pair in zip(expected, errors, strict=True)]).clip(max=worst)
    threshold = 0.0
    for index, candidate in enumerate(THRESHOLDS):
        if not is_below(risks[:, index] / worst, error / worst, 1 - confidence):
            break
        threshold = float(candidate)
    return Calibration(error=error, confidence=confidence, threshold=threshold, photos=len(expected))


def risk_curve(expected: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Return the risk of one photo at each of `THRESHOLDS`: nowhere falling, 0 where all is masked."""
    order = np.argsort(expected, axis=None)
    sums = np.cumsum(error.ravel()[order])
    counts = np.searchsorted(expected.ravel()[order], THRESHOLDS, side="right")
    means = np.where(counts > 0, sums[np.maximum(counts, 1) - 1] / np.maximum(counts, 1), 0.0)
    return np.maximum.accumulate(means)


def is_below(losses: np.ndarray, mean: float, delta: float) -> bool:
    """Whether the mean of losses in 0 ... 1 is below another, with probability 1 - `delta` (arXiv:2010.09686, Eq. 25).

    A bet against that mean grows where losses are smaller than it; once it has grown by 1 / delta, the mean is
    refused. Losses come in any order that doesn't depend on them.
    """
    count = len(losses)
    seen = np.arange(1, count + 1)
    means = (0.5 + np.cumsum(losses)) / (seen + 1)
    variances = (0.25 + np.cumsum((losses - means) ** 2)) / (seen + 1)
    before = np.concatenate(([0.25], variances[:-1]))
    wanted = np.sqrt(2 * np.log(1 / delta) / (count * before))
    stakes = np.minimum(wanted, 0.9 / max(1 - mean, 0.1))  # so that no single loss ruins the bet
    return bool(np.max(np.cumsum(np.log1p(-stakes * (losses - mean)))) > np.log(1 / delta))
