"""What is left of a batch is told by pixels."""

from dataclasses import replace
from pathlib import Path

import pytest

from sdsr.batch.outcome import Outcome
from sdsr.batch.pace import Pace
from sdsr.batch.walking import Task


def task(number: int) -> Task:
    return Task.of(Path(f"{number}.png"), Path(f"out/{number}.png"))


def outcome(number: int, status: str = "done") -> Outcome:
    return Outcome(input=f"{number}.png", output="", status=status, model="", seed=0)  # type: ignore[arg-type]


def test_a_large_photo_counts_for_more_than_a_small_one() -> None:
    pace = Pace(photos=4, mean_px=200)
    assert pace.left_s is None
    pace.settle(outcome(0, "skipped"), 0.0)
    pace.begin(task(1), 100, 0.0)
    first = pace.at_work
    assert first is not None
    pace.advance(first, 0.5, 5.0)
    assert (pace.finished_px, pace.left_px) == (50, 450)
    assert pace.left_s == pytest.approx(45)
    second = task(2)
    pace.begin(second, 1000, 10.0)
    pace.settle(outcome(1), 10.0)
    pace.advance(task(3), 0.0, 11.0)  # only looked at
    pace.advance(second, 0.1, 20.0)
    assert (pace.finished_px, pace.left_px) == (200, 1100)
    assert pace.left_s == pytest.approx(110)
    pace.advance(second, 1.0, 110.0)
    pace.settle(outcome(2), 110.0)
    pace.settle(outcome(3, "failed"), 110.0)
    assert (pace.left_px, pace.settled) == (0, 4)


def test_what_a_cluster_sends_counts_as_it_arrives() -> None:
    pace = Pace(photos=3, mean_px=100)
    pace.settle(outcome(0, "skipped"), 5.0)
    pace.settle(replace(outcome(1), size=(10, 20), seconds=4.0), 10.0)
    assert (pace.finished_px, pace.left_px, pace.left_s) == (200, 100, 2.0)
