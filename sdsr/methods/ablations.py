"""Tables of variants that `sdsr study ablation` trains under equal budgets and seeds."""

from collections.abc import Mapping

from sdsr.errors import InputError
from sdsr.methods.addsr import recipes as addsr
from sdsr.methods.consissr import recipes as consissr
from sdsr.methods.invsr import recipes as invsr
from sdsr.methods.one_step import recipes as d3sr
from sdsr.methods.stablesr import recipes as stablesr
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
