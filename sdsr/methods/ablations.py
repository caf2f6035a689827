"""Tables of variants that `sdsr study ablation` trains under equal budgets and seeds, as the folders state them."""

from sdsr.methods import gather
from sdsr.methods.variant import Variant

ABLATIONS: dict[str, dict[str, Variant]] = {
    name: rows for tables in gather("recipes", "ABLATIONS") for name, rows in tables.items()
}
"""By the table's name, then the row's."""
