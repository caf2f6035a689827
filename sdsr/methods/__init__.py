"""The methods, one file per paper, as recipes: a prior, what is added to it, a plan, and the stages of training."""

from sdsr.methods.consissr import CONSISSR, CONSISSR_PUBLISHED, CONSISSR_SMALL
from sdsr.methods.d3sr import D3SR_SMALL
from sdsr.methods.recipe import Recipe
from sdsr.methods.small import SMALL_RECIPES

METHODS: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (D3SR_SMALL, CONSISSR, CONSISSR_PUBLISHED, CONSISSR_SMALL)
}
"""What restores photos."""

RECIPES: dict[str, Recipe] = {**METHODS, **SMALL_RECIPES}
"""Everything that `sdsr train` can train."""
