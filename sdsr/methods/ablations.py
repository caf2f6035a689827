"""Tables of variants that `sdsr study ablation` trains under equal budgets and seeds, as the folders state them."""

from collections.abc import Mapping

from sdsr.errors import InputError
from sdsr.methods import gather
from sdsr.methods.variant import Variant

ABLATIONS: dict[str, dict[str, Variant]] = {
    name: rows for tables in gather("recipes", "ABLATIONS") for name, rows in tables.items()
}
"""By the table's name, then the row's."""


def find_ablation(name: str) -> Mapping[str, Variant]:
    if name not in ABLATIONS:
        raise InputError(f"table (={name}) must be one of {', '.join(sorted(ABLATIONS))}.")
    return ABLATIONS[name]
