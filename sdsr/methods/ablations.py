"""Tables of variants that `sdsr ablate` trains under equal budgets and seeds."""

from collections.abc import Mapping

from sdsr.errors import InputError
from sdsr.methods import consissr
from sdsr.methods.d3sr import D3SR_SMALL
from sdsr.methods.variant import Variant

ABLATIONS: dict[str, dict[str, Variant]] = {
    **consissr.ABLATIONS,
    "d3sr-time": {
        f"T_L = {time}": Variant(recipe=D3SR_SMALL, stage="fidelity", changes={"objective.plan.times": (time,)})
        for time in (99, 199, 399)
    },
}
"""By the table's name, then the row's."""


def find_ablation(name: str) -> Mapping[str, Variant]:
    if name not in ABLATIONS:
        raise InputError(f"table (={name}) must be one of {sorted(ABLATIONS)}.")
    return ABLATIONS[name]
