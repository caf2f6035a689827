"""Tables as text: markdown for people, CSV for programs; and a few lines of a long one."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
SHOWN = 6


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A markdown table of these cells, the first line being its head, its columns of equal width."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    head, *body = lines
    return "\n".join(
        "| " + " | ".join(map(str.ljust, line, widths)) + " |"
        for line in (head, ["-" * width for width in widths], *body)
    )


def csv_text(lines: Iterable[Sequence[object]]) -> str:
    """These cells as CSV, floating-point numbers with six decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_cell(value) for value in line] for line in lines)
    return text.getvalue()


def spread(items: Sequence[Item], count: int = SHOWN) -> list[Item]:
    """A few of the items: the first, the last and some between, evenly spaced."""
    last = len(items) - 1
    return [items[index] for index in sorted({k * last // max(count - 1, 1) for k in range(count)})]


def _cell(value: object) -> object:
    return f"{value:.6f}" if isinstance(value, float | np.floating) else value
