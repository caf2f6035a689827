import math

import numpy as np
import pytest

from sdsr.errors import InputError
from sdsr.metrics.benchmark import Scores, score
from sdsr.metrics.protocol import PROTOCOLS, Measure, Protocol
from sdsr.metrics.rank import mean_ranks, ranks


def table(**figures):
    """Scores of one photo under four measures, NaN standing for no value."""
    directions = {"up": "higher", "down": "lower", "one": "near 1", "gap": "higher"}
    measures = tuple(
        Measure(name=name, function=float, plane="y", needs_truth=False, better=better)  # pyright: ignore
        for name, better in directions.items()
    )
    protocol = Protocol(name="made up", description="", measures=measures)
    return {
        label: Scores(
            protocol=protocol,
            names=("a",),
            values={name: np.array([value]) for name, value in zip(directions, row, strict=True)},
        )
        for label, row in figures.items()
    }


def test_ranks_follow_the_direction_and_ties_share_the_mean():
    assert ranks([3.0, 1.0, 2.0], "higher") == [1, 3, 2]
    assert ranks([3.0, 1.0, 2.0], "lower") == [3, 1, 2]
    assert ranks([0.5, 1.25, 2.0], "near 1") == [2, 1, 3]
    assert ranks([2.0, 2.0, 1.0, 2.0], "higher") == [2, 2, 4, 2]
    assert ranks([0.75, 1.25], "near 1") == [1.5, 1.5]
    assert ranks([0.75, 1.25, 0.95, 1.1], "at most 1") == [1.5, 4, 1.5, 3]


def test_a_closed_table():
    """A: 1, 2.5, 1; B: 2, 1, 3; C: 3, 2.5, 2; the last measure has no value for B and counts for none."""
    rows = table(A=(27.0, 6.0, 1.0, 9.0), B=(26.0, 5.0, 0.25, math.nan), C=(25.0, 6.0, 1.5, 1.0))
    assert mean_ranks(rows) == pytest.approx({"A": 4.5 / 3, "B": 2.0, "C": 7.5 / 3})
    assert sum(mean_ranks(rows).values()) == pytest.approx(1 + 2 + 3)


def test_nothing_to_rank_is_nan():
    assert all(map(math.isnan, mean_ranks(table(A=(math.nan,) * 4, B=(1.0,) * 4)).values()))
    assert mean_ranks({}) == {}


def test_other_photos_are_refused(folders):
    all_of_them = score(folders / "out", folders / "HR", protocol=PROTOCOLS["rgb"])
    next((folders / "out").iterdir()).unlink()
    fewer = score(folders / "out", folders / "HR", protocol=PROTOCOLS["rgb"])
    with pytest.raises(InputError, match=r"b \(=2 photos\)"):
        mean_ranks({"a": all_of_them, "b": fewer})
    assert mean_ranks({"a": all_of_them, "b": all_of_them}) == {"a": 1.5, "b": 1.5}
