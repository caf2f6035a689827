"""Score results, photo by photo, under one protocol."""

import math
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sdsr.errors import InputError
from sdsr.metrics.pairs import Pair, pair_folders
from sdsr.metrics.planes import Pixels, PlaneName, plane
from sdsr.metrics.protocol import PROTOCOLS, Measure, Protocol

_DRAWS = 1000  # of the bootstrap


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Values of each measure over the photos, in the order of `names`: (n,), or (n, ...) where a value is a profile."""

    protocol: Protocol
    names: tuple[str, ...]
    values: dict[str, np.ndarray]

    @classmethod
    def of_rows(
        cls, names: Sequence[str], rows: Sequence[Mapping[str, float | np.ndarray]], protocol: Protocol
    ) -> "Scores":
        """Return the scores of photos from the values of each, as `score_photo` gives them."""
        values = {measure.name: np.array([row[measure.name] for row in rows]) for measure in protocol.measures}
        return cls(protocol=protocol, names=tuple(names), values=values)

    def of(self, measure: Measure) -> float:
        """The figure of the whole set."""
        return measure.over_photos(self.values[measure.name])

    def photo(self, measure: Measure, index: int) -> float:
        """The figure of one photo."""
        return measure.over_photos(self.values[measure.name][index : index + 1])

    def interval(self, measure: Measure) -> tuple[float, float]:
        """95 % interval of the set's figure by the percentile bootstrap; NaN for one photo or a value not finite."""
        values = self.values[measure.name]
        if len(values) < 2 or not np.isfinite(values).all():
            return math.nan, math.nan
        chosen = np.random.default_rng(0).integers(len(values), size=(_DRAWS, len(values)))
        low, high = np.percentile([measure.over_photos(values[draw]) for draw in chosen], [2.5, 97.5])
        return float(low), float(high)


def score(
    results: Path, truth: Path | None = None, *, protocol: Protocol = PROTOCOLS["realisr-y"], jobs: int = 1
) -> Scores:
    """Scores of a folder of results against a folder of truths, or of the results alone; see `pair_folders`."""
    return score_pairs(pair_folders(results, truth), protocol, jobs=jobs)


def score_pairs(pairs: Sequence[Pair], protocol: Protocol, *, jobs: int = 1) -> Scores:
    """Scores of some pairs in `jobs` processes. Where a truth is missing, only measures that need none are taken."""
    if any(pair.truth is None for pair in pairs):
        protocol = protocol.without_truth()
    if not pairs or not protocol.measures:
        raise InputError(f"protocol (={protocol.name}) leaves nothing to measure here; give the folder of truths too.")
    one = partial(score_photo, protocol=protocol)
    if jobs == 1:
        rows = list(map(one, pairs))
    else:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            rows = list(pool.map(one, pairs))
    return Scores.of_rows([pair.name for pair in pairs], rows, protocol)


def score_photo(pair: Pair, protocol: Protocol) -> dict[str, float | np.ndarray]:
    """The value of each measure for one photo; InputError where result and truth differ in size."""
    photos = [picture() for picture in (pair.result, pair.truth) if picture is not None]
    sizes = [f"{photo.shape[1]}x{photo.shape[0]}" for photo in photos]
    if len(set(sizes)) > 1:
        raise InputError(f"{pair.name} is {sizes[0]} and its truth {sizes[1]} px; restore at the scale of the truth.")
    photos = [_without_border(photo, protocol.border_px) for photo in photos]
    names: set[PlaneName] = {measure.plane for measure in protocol.measures}
    planes = {name: [plane(photo, name) for photo in photos] for name in names}
    return {
        measure.name: measure.function(*planes[measure.plane][: 2 if measure.needs_truth else 1])
        for measure in protocol.measures
    }


def _without_border(photo: Pixels, border_px: int) -> Pixels:
    if min(photo.shape[:2]) <= 2 * border_px:
        raise InputError(
            f"a photo of {photo.shape[1]}x{photo.shape[0]} px has nothing within a border of {border_px} px."
        )
    return photo[border_px : photo.shape[0] - border_px, border_px : photo.shape[1] - border_px]
