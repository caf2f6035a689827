"""Tables as text: aligned columns, CSV that reads back, and which lines of a long table are shown."""

import csv
import io

import numpy as np
import pytest

from sdsr.metrics.tables import aligned, csv_text, spread


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned([["a", "measure"], ["long", "1"]]).splitlines() == [
        "| a    | measure |",
        "| ---- | ------- |",
        "| long | 1       |",
    ]


def test_csv_reads_back_with_six_decimals_of_each_figure() -> None:
    lines = [["photo", "t", "x"], ['a "b", c', 3, 1 / 3], ["ü\n", np.int64(4), np.float32(0.5)]]
    text = csv_text(lines)
    assert "\r" not in text
    assert list(csv.reader(io.StringIO(text))) == [
        ["photo", "t", "x"],
        ['a "b", c', "3", "0.333333"],
        ["ü\n", "4", "0.500000"],
    ]


@pytest.mark.parametrize(
    ("length", "count", "expected"), [(11, 3, [0, 5, 10]), (3, 6, [0, 1, 2]), (1, 4, [0]), (9, 1, [0])]
)
def test_a_few_of_many_are_evenly_spaced_with_both_ends(length: int, count: int, expected: list[int]) -> None:
    assert spread(range(length), count) == expected
