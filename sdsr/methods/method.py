"""A method is a value: a frozen dataclass that builds a restorer on a prior and decides the plan of a photo.

Its fields are what can be varied, by `dataclasses.replace` or `--set method.NAME=...`; a row of an ablation is one that
differs in a field.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import torch

from sdsr.errors import InputError
from sdsr.prior.prior import Prior
from sdsr.request import Wishes
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer
from sdsr.tensors import Image

Device = torch.device | str | None
"""Where it computes; None: the one that suits this machine."""


class Trainable(Protocol):
    """What a stage trains: a method, or what one stands on."""

    def build(self, prior: str | Prior, device: Device = None) -> Any:
        """Return it, on a prior or on that of a name or folder, as it is before it learns."""
        ...


class Method(Protocol):
    """What restores photos."""

    @property
    def own_plan(self) -> Plan:
        """The plan where nothing is wished."""
        ...

    def build(self, prior: str | Prior, device: Device = None) -> Restorer:
        """Return the restorer, its modules attached and as they are before they learn.

        `prior` is one, or what `load_prior` takes.
        """
        ...

    def plan(self, wishes: Wishes, photo: Image | None = None) -> Plan:
        """Return the plan for a photo as it was given; raise InputError for a wish that the method can't fulfill.

        The only place that decides a plan. Without a photo, what the photo would decide is checked, and is the method's
        own.
        """
        ...


Times = Callable[[int], tuple[int, ...]]
"""A number of steps -> the times to visit; InputError where the method has none."""

Faithful = Callable[[Plan, float], Plan]
"""(plan, fidelity) -> the plan whose results are the nearer to the photo the higher the fidelity, 0 ... 1."""


def wished_plan(own: Plan, wishes: Wishes, *, times: Times | None = None, faithful: Faithful | None = None) -> Plan:
    """Return the plan of a method without a choice of starts: `own`, with the wished steps and fidelity.

    `times` and `faithful` are None where the method has no such choice; then a wish for it is an InputError.
    """
    if wishes.start is not None:
        raise InputError(f"start (={wishes.start}) means nothing to this method; leave it out.")
    return faithful_plan(with_steps(own, wishes.steps, times), wishes.fidelity, faithful)


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
