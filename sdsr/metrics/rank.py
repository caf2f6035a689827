"""The mean rank of several sets of results over all measures: one figure for a table, as in arXiv:2410.13807, Table 1.

It says who leads more often, not by how much; and a rank changes with the company it is taken in.
"""

import math
from collections.abc import Mapping, Sequence

from sdsr.errors import InputError
from sdsr.metrics.benchmark import Scores
from sdsr.metrics.protocol import Better


def mean_ranks(rows: Mapping[str, Scores]) -> dict[str, float]:
    """The mean rank of each row, 1 being the best, over the measures that have a value in all rows; NaN if none has.

    Raises InputError where the rows are not of the same photos.
    """
    if not rows:
        return {}
    (first, reference), *others = rows.items()
    for label, scores in others:
        if set(scores.names) != set(reference.names):
            raise InputError(
                f"{label} (={len(scores.names)} photos) and {first} (={len(reference.names)}) must hold the same "
                "ones to be ranked; complete them, or measure each by itself."
            )
    shared = [
        measure
        for measure in reference.protocol.measures
        if all(measure.name in scores.values and math.isfinite(scores.of(measure)) for scores in rows.values())
    ]
    if not shared:
        return dict.fromkeys(rows, math.nan)
    columns = [ranks([scores.of(measure) for scores in rows.values()], measure.better) for measure in shared]
    return {label: sum(places) / len(shared) for label, places in zip(rows, zip(*columns, strict=True), strict=True)}


def ranks(figures: Sequence[float], better: Better) -> list[float]:
    """The rank of each figure, 1 for the best; equal ones share the mean of their places.

    >>> ranks([25.1, 27.0, 25.1], "higher")
    [2.5, 1.0, 2.5]
    """
    losses = [_loss(figure, better) for figure in figures]
    return [sum(other < loss for other in losses) + (losses.count(loss) + 1) / 2 for loss in losses]


def _loss(figure: float, better: Better) -> float:
    match better:
        case "higher":
            return -figure
        case "lower":
            return figure
        case "near 1":
            return abs(figure - 1)
        case "at most 1":
            return max(figure - 1, 0.0)
