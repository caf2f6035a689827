"""Which times InvSR visits (arXiv:2412.09013), in how many steps, and from which start on.

`T` and everything named `start` here is counted as in the paper and its program, from one: T = 200 is index 199 of the
schedule, and plans and networks get the index. The predictor was trained to start at four values of T; later times may
be any, so what matters of a list is its first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

from sdsr.diffusion.times import uniform
from sdsr.errors import InputError
from sdsr.methods.invsr.impairment import blur_sigma, noise_sigma
from sdsr.restoration.plan import Plan
from sdsr.tensors import Image

TRAINED_STARTS = (250, 200, 150, 100)
SCHEDULE_STEPS = 1000
PUBLISHED = {1: (200,), 2: (200, 100), 3: (200, 100, 50), 4: (200, 150, 100, 50), 5: (250, 200, 150, 100, 50)}
"""The lists of the released program, by their number of steps."""

UNEVEN = {(list_[0], count): list_ for count, list_ in (*PUBLISHED.items(), (3, (250, 150, 50)))}
"""Lists by start and number of steps: these, and of the paper's Table 1 the one that isn't evenly spaced."""

FIDELITY = ((0.25, 250), (0.625, 200), (0.875, 150), (1.0, 100))
"""Starts, each up to this fidelity, its nearest on the line through 0: 250, 0.5: 200, 0.75: 150 and 1: 100.

One step from them has 23.84, 24.14, 24.42 and 24.66 dB PSNR in the paper (ImageNet-Test, Table 1).
"""

NOISY = 8 / 255
VERY_NOISY = 16 / 255
BLURRED_PX = 1.0
VERY_BLURRED_PX = 2.0
"""16 clean photos, reduced by 4, measured at most 5 / 255 and 0.6 px; with noise of 10 / 255 half of them measured at
least 10 / 255; blurred by 2 px they measured 1.4 to 2.4 px.
"""


def times_for(steps: int, start: int | None = None) -> tuple[int, ...]:
    """Return the indices to visit in 1 ... 5 steps: the published list of this start, or one evenly spaced.

    Without `start`, the released program's. Raises InputError where there are none.

    >>> times_for(2), times_for(3, 250), times_for(2, 150)
    ((199, 99), (249, 149, 49), (149, 74))
    """
    if steps not in PUBLISHED:
        raise InputError(
            f"steps (={steps}) of InvSR must be in 1 ... 5; 1 measures best, more may help blurred photos."
        )
    if start is None:
        return _indices(PUBLISHED[steps])
    if not 1 <= start <= SCHEDULE_STEPS:
        raise InputError(f"start (={start}) must be in 1 ... {SCHEDULE_STEPS}; InvSR was trained at {TRAINED_STARTS}.")
    if start < steps:
        raise InputError(f"start (={start}) leaves no room for {steps} steps; start at one of {TRAINED_STARTS}.")
    return _indices(UNEVEN[start, steps]) if (start, steps) in UNEVEN else uniform(start - 1, steps)


PLAN = Plan(times=(199,))
"""One step from T = 200, the released program's default, which keeps the noise that is there.

Deviation: the paper's Algorithm 1 draws fresh noise in each step, of a variance that it doesn't name; a plan whose
`step` is `ancestral` reads it as the DDPM posterior over the list's own times.
"""


def start_for_fidelity(fidelity: float | int) -> int:
    """Return the start for a fidelity from 0 (most invented detail) to 1 (closest to the photo); 0.5 is the default's.

    >>> [start_for_fidelity(fidelity) for fidelity in (0, 0.5, 0.75, 1)]
    [250, 200, 150, 100]
    """
    if not 0 <= fidelity <= 1:
        raise InputError(f"fidelity (={fidelity}) must be in 0 ... 1; 0.5 is the default, 1 the closest to the photo.")
    return next(start for limit, start in FIDELITY if fidelity <= limit)


def at_fidelity(plan: Plan, fidelity: float) -> Plan:
    """Return the plan with as many steps, from the start of that fidelity."""
    return replace(plan, times=times_for(len(plan.times), start_for_fidelity(fidelity)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A start (T) and number of steps, the noise (of the range's 1) and blur (px) they were chosen by, and why."""

    start: int
    steps: int
    noise: float
    blur: float
    reason: str


def automatic_start(photo: Image) -> Choice:
    """Choose start and steps for a photo as it was given.

    The paper's discussion, put into numbers by us: noise is best left behind by one step from a low start, since each
    step and each bit of noise added amplifies it; blur needs a high start, and strong blur may gain from more steps.
    """
    noise = noise_sigma(photo)
    blur = blur_sigma(photo)
    default = Choice(start=200, steps=1, noise=noise, blur=blur, reason="neither noisy nor blurred: the usual start")
    if noise >= VERY_NOISY:
        return replace(default, start=100, reason="very noisy: the lowest start, one step")
    if noise >= NOISY:
        return replace(default, start=150, reason="noisy: a lower start, one step")
    if not isfinite(blur):
        return replace(default, reason="without an edge to judge blur by: the usual start")
    if blur >= VERY_BLURRED_PX:
        return replace(default, start=250, steps=3, reason="very blurred: the highest start, three steps")
    if blur >= BLURRED_PX:
        return replace(default, start=250, reason="blurred: the highest start")
    return default


def _indices(counted: Sequence[int]) -> tuple[int, ...]:
    return tuple(t - 1 for t in counted)
