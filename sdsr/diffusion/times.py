"""Which times of the schedule a plan visits: descending tuples of indices 0 ... 999.

Deviation: fractions are exact here, where the published lists come from floating point. They are equal for the counts
the papers use; for some others an exact half or integer falls one lower or higher there.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from sdsr.errors import InputError


def spaced(count: int, steps: int = 1000) -> tuple[int, ...]:
    """Return `count` evenly spaced times, the first and last of the schedule among them; a single one is the last.

    `spaced(50)` is ConsisSR's list, `spaced(200)` StableSR's: halves are rounded to even, as published.

    >>> spaced(4)
    (999, 666, 333, 0)
    """
    _check_count(count, steps)
    if count == 1:
        return (steps - 1,)
    return tuple(round(Fraction((steps - 1) * k, count - 1)) for k in reversed(range(count)))


def trailing(count: int, steps: int = 1000) -> tuple[int, ...]:
    """Return `count` times that begin with the schedule's last and end one stride above nothing.

    AddSR's list (arXiv:2404.01717), and diffusers' `timestep_spacing="trailing"`.

    >>> trailing(4)
    (999, 749, 499, 249)
    """
    _check_count(count, steps)
    return tuple(round(Fraction(steps * k, count)) - 1 for k in range(count, 0, -1))


def uniform(start: int, count: int) -> tuple[int, ...]:
    """Return `count` times from `start` down to one stride above nothing, rounded down.

    InvSR's lists (arXiv:2412.09013), which the paper counts from one: its {250, 200, 150, 100, 50} is

    >>> uniform(249, 5)
    (249, 199, 149, 99, 49)
    """
    _check_count(count, start + 1)
    return tuple((start + 1) * k // count - 1 for k in range(count, 0, -1))


def validate(times: Sequence[int], steps: int = 1000) -> tuple[int, ...]:
    """Return the times as a tuple; raise InputError unless they descend strictly within the schedule."""
    times = tuple(times)
    if not times:
        raise InputError("times (=()) must name at least one time; try spaced(50).")
    outside = [t for t in times if not 0 <= t < steps]
    if outside:
        raise InputError(f"times (={times}) must be in 0 ... {steps - 1}, {outside[0]} is not; count from zero.")
    if any(t <= to for t, to in pairwise(times)):
        ordered = tuple(sorted(set(times), reverse=True))
        raise InputError(f"times (={times}) must descend strictly; try {ordered}.")
    return times


def _check_count(count: int, limit: int) -> None:
    if not 1 <= count <= limit:
        raise InputError(f"count of steps (={count}) must be in 1 ... {limit}; choose fewer or more steps.")
