"""Plans as they are wished: other steps, another fidelity; knows no method."""

from collections.abc import Callable
from dataclasses import replace

from sdsr.errors import InputError
from sdsr.request import Request
from sdsr.restoration.plan import Plan

Times = Callable[[int], tuple[int, ...]]
"""A number of steps -> the times to visit; InputError where the method has none."""

Faithful = Callable[[Plan, float], Plan]
"""(plan, fidelity) -> the plan whose results are the nearer to the photo the higher the fidelity, 0 ... 1."""


def wished_plan(own: Plan, request: Request, *, times: Times | None = None, faithful: Faithful | None = None) -> Plan:
    """Return the plan of a method without a choice of starts: `own`, with the wished steps and fidelity.

    `times` and `faithful` are None where the method has no such choice; then a wish for it is an InputError.
    """
    if request.start is not None:
        raise InputError(f"start (={request.start}) means nothing to this method; leave it out.")
    return faithful_plan(with_steps(own, request.steps, times), request.fidelity, faithful)


def with_steps(own: Plan, steps: int | None, times: Times | None) -> Plan:
    """Return the plan in this number of steps; its own number keeps its own times."""
    count = len(own.times)
    if steps in (None, count):
        return own
    if times is None:
        raise InputError(f"steps (={steps}) of this method must be {count}; leave --steps out.")
    return replace(own, times=times(steps))


def faithful_plan(plan: Plan, fidelity: float | int | None, faithful: Faithful | None) -> Plan:
    """Return the plan at a fidelity in 0 ... 1, None for the plan's own."""
    if fidelity is None:
        return plan
    if not 0 <= fidelity <= 1:
        raise InputError(f"fidelity (={fidelity}) must be in 0 ... 1; 0 trusts the model, 1 the photo.")
    if faithful is None:
        raise InputError(f"fidelity (={fidelity}) means nothing to this method; leave it out.")
    return faithful(plan, float(fidelity))


def by_guidance(plan: Plan, fidelity: float) -> Plan:
    """Return the plan with other guidance: none at 1, the plan's own at 0.5, its distance from none doubled at 0.

    Guidance leads away from what the negative prompt calls the photo's defects, and from the photo with them.
    """
    return replace(plan, guidance=1 + 2 * (1 - fidelity) * (plan.guidance - 1))


def by_decoder(plan: Plan, fidelity: float) -> Plan:
    """Return the plan whose decoder takes over as much of the photo."""
    return replace(plan, fidelity=fidelity)
