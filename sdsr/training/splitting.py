"""A batch in pieces, for a training step whose batch does not fit in memory."""

from collections.abc import Iterator
from itertools import pairwise

from sdsr.objectives.training_step import Sample


def split(sample: Sample, pieces: int) -> Iterator[tuple[float, Sample]]:
    """Yield a sample in so many pieces of about one size, no more than it has photos, and each one's share of it."""
    count = len(sample.hq)
    pieces = min(pieces, count)
    ends = [count * index // pieces for index in range(pieces + 1)]
    for first, last in pairwise(ends):
        part = slice(first, last)
        yield (
            (last - first) / count,
            Sample(
                hq=sample.hq[part],
                lq=None if sample.lq is None else sample.lq[part],
                teacher=None if sample.teacher is None else sample.teacher[part],
                numbers=None if sample.numbers is None else sample.numbers[part],
            ),
        )
