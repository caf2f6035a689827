"""Tables of variants that `sdsr ablate` trains under equal budgets and seeds."""

from collections.abc import Mapping

from sdsr.errors import InputError
from sdsr.methods import addsr, consissr, d3sr, invsr, stablesr
from sdsr.methods.variant import Variant

ABLATIONS: dict[str, dict[str, Variant]] = {
    **consissr.ABLATIONS,
    **stablesr.ABLATIONS,
    **addsr.ABLATIONS,
    **invsr.ABLATIONS,
    **d3sr.ABLATIONS,
}
"""By the table's name, then the row's."""


def find_ablation(name: str) -> Mapping[str, Variant]:
    if name not in ABLATIONS:
        raise InputError(f"table (={name}) must be one of {sorted(ABLATIONS)}.")
    return ABLATIONS[name]
