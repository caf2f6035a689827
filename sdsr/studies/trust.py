"""How far a model can be believed: its clues against true errors, and promises that are kept on other photos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sdsr.errors import InputError
from sdsr.photos.depths import eight_bits
from sdsr.photos.photo import Photo
from sdsr.restoration.passes import Passes
from sdsr.studies.samples import Sample
from sdsr.trust.consistency import measure_consistency
from sdsr.trust.expected_error import Clues, ExpectedError, fit, true_error
from sdsr.trust.mask import Calibration, calibrate, unmasked

LEAST_PHOTOS = 20
SPLITS = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examined:
    """One photo whose truth is known: what was seen of its result, and its error, cell by cell."""

    name: str
    clues: Clues
    error: np.ndarray


def examine(
    samples: Sequence[Sample], run: Callable[[Photo], Passes], told: Callable[[str], None] = lambda name: None
) -> list[Examined]:
    """Restore each photo in several passes (`run`) and hold the first against its truth."""
    examined = []
    for sample in samples:
        photo = sample.lq()
        truth = Photo(pixels=np.ascontiguousarray(eight_bits(sample.truth())))
        passes = run(photo)
        if passes.first.size != truth.size:
            raise InputError(f"truth of {sample.name} (={truth.size}) must have the result's size {passes.first.size}.")
        clues = Clues.of(passes.first, passes.spread, measure_consistency(passes.first, photo))
        examined.append(Examined(name=sample.name, clues=clues, error=true_error(passes.first, truth)))
        told(sample.name)
    return examined


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


def calibrated(photos: Sequence[Examined], *, error: float, confidence: float) -> tuple[ExpectedError, Calibration]:
    """Fit the clues' weights on every other photo and calibrate on the rest, so that no photo serves both."""
    if len(photos) < LEAST_PHOTOS:
        raise InputError(f"photos (={len(photos)}) must be at least {LEAST_PHOTOS}; give more.")
    fitted = photos[::2]
    rest = photos[1::2]
    expected = fit([photo.clues for photo in fitted], [photo.error for photo in fitted])
    return expected, calibrated_with(expected, rest, error=error, confidence=confidence)


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
