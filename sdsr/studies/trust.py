"""How far a model can be believed: its clues against true errors, and promises that are kept on other photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdsr.errors import InputError
from sdsr.studies.examined import Examined
from sdsr.trust.expected_error import ExpectedError, fit
from sdsr.trust.mask import Calibration, calibrate, unmasked

LEAST_PHOTOS = 20
FITTED = 4
"""The clues are weighed on each photo of so many, four numbers in all; promises, which take photos, on the others."""
SPLITS = 100


def rank_correlations(photos: Sequence[Examined], expected: ExpectedError) -> dict[str, np.ndarray]:
    """Return, for each map, Spearman's correlation with the true error in each photo."""
    maps = {
        "disagreement": lambda clues: clues.disagreement,
        "consistency": lambda clues: clues.consistency,
        "gradient energy": lambda clues: clues.busyness,
        "expected error": expected.map,
    }
    return {name: np.array([spearman(of(photo.clues), photo.error) for photo in photos]) for name, of in maps.items()}


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Return the correlation of ranks; values that are equal share their mean rank."""
    return float(np.corrcoef(_ranks(first.ravel()), _ranks(second.ravel()))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What came of a promise on photos that it was not made on: mean risk, unmasked share, and error of the whole."""

    risk: float
    share: float
    whole: float


def check(photos: Sequence[Examined], expected: ExpectedError, calibration: Calibration) -> Kept:
    """Return how a promise is kept on these photos; a photo that is masked as a whole has no risk."""
    cells = [unmasked(expected.map(photo.clues), calibration.threshold) for photo in photos]
    risks = [float(photo.error[free].mean()) if free.any() else 0.0 for photo, free in zip(photos, cells, strict=True)]
    return Kept(
        risk=float(np.mean(risks)),
        share=float(np.mean([free.mean() for free in cells])),
        whole=float(np.mean([photo.error.mean() for photo in photos])),
    )


def weighed(photos: Sequence[Examined]) -> tuple[ExpectedError, list[Examined]]:
    """Weigh the clues on each fourth photo; return this and the other photos, to calibrate on: none serves both."""
    if len(photos) < LEAST_PHOTOS:
        raise InputError(f"photos (={len(photos)}) must be at least {LEAST_PHOTOS}; give more.")
    fitted = photos[::FITTED]
    expected = fit([photo.clues for photo in fitted], [photo.error for photo in fitted])
    return expected, [photo for index, photo in enumerate(photos) if index % FITTED]


def calibrated_with(
    expected: ExpectedError, photos: Sequence[Examined], *, error: float, confidence: float
) -> Calibration:
    """Return the calibration of a fitted expectation on photos that it was not fitted on."""
    maps = [expected.map(photo.clues) for photo in photos]
    return calibrate(maps, [photo.error for photo in photos], error=error, confidence=confidence)


def kept_in_splits(
    expected: ExpectedError, photos: Sequence[Examined], *, error: float, confidence: float, splits: int = SPLITS
) -> float:
    """Return in which share of random halvings the promise made on one half is kept on the other."""
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(splits):
        order = rng.permutation(len(photos))
        halves = [[photos[index] for index in part] for part in np.array_split(order, 2)]
        calibration = calibrated_with(expected, halves[0], error=error, confidence=confidence)
        kept += check(halves[1], expected, calibration).risk < error
    return kept / splits
