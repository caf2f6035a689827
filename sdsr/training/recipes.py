"""Everything that `sdsr train` can train: what restores photos, and the parts that these stand on."""

from sdsr.embedded.recipes import SMALL_RECIPES
from sdsr.methods import all_recipes
from sdsr.methods.recipe import Recipe

RECIPES: dict[str, Recipe] = {**all_recipes(), **SMALL_RECIPES}
