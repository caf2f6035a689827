"""Everything that `sdsr train` can train: what restores photos, and the parts that these stand on."""

from sdsr.embedded.recipes import SMALL_RECIPES
from sdsr.methods import METHODS
from sdsr.methods.invsr.latent_perceptual import LATENT_RECIPES
from sdsr.methods.recipe import Recipe

RECIPES: dict[str, Recipe] = {**METHODS, **SMALL_RECIPES, **LATENT_RECIPES}
