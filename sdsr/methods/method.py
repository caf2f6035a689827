"""A method is a value: a frozen dataclass that builds a restorer on a prior and decides the plan of a photo.

Its fields are what can be varied, by `dataclasses.replace` or `--set method.NAME=...`; a row of an ablation is one that
differs in a field.
"""

from typing import Protocol, TypeVar, runtime_checkable

import torch

from sdsr.prior.prior import Prior
from sdsr.request import Request
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer
from sdsr.tensors import Image

Device = torch.device | str | None
"""Where it computes; None: the one that suits this machine."""


Built_co = TypeVar("Built_co", covariant=True)


class Trainable(Protocol[Built_co]):
    """What a stage trains: a method, or what one stands on."""

    def build(self, prior: str | Prior, device: Device = None) -> Built_co:
        """Return it, on a prior or on that of a name or folder, as it is before it learns."""
        ...


@runtime_checkable
class OnPrior(Protocol):
    """What is trained on a prior that it holds: a frozen dataclass, as `Restorer` is."""

    @property
    def prior(self) -> Prior: ...


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

    def plan(self, request: Request, photo: Image | None = None) -> Plan:
        """Return the plan for a photo as it was given; raise InputError for a wish that the method can't fulfill.

        The only place that decides a plan. Without a photo, what the photo would decide is checked, and is the method's
        own.
        """
        ...
