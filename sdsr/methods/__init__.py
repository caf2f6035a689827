"""The methods, one folder per paper, as recipes: a prior, what is added to it, a plan, and the stages of training."""

from sdsr.methods.addsr.recipes import ADDSR, ADDSR_SMALL, SEESR, SEESR_SMALL
from sdsr.methods.consissr.recipes import CONSISSR, CONSISSR_PUBLISHED, CONSISSR_SMALL
from sdsr.methods.invsr.recipes import INVSR, INVSR_SMALL
from sdsr.methods.one_step.recipes import D3SR, D3SR_SMALL, HYPIR, OSEDIFF
from sdsr.methods.recipe import Recipe
from sdsr.methods.stablesr.recipes import STABLESR, STABLESR_768V, STABLESR_SMALL, STABLESR_TURBO

METHODS: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        D3SR_SMALL,
        D3SR,
        OSEDIFF,
        HYPIR,
        CONSISSR,
        CONSISSR_PUBLISHED,
        CONSISSR_SMALL,
        STABLESR,
        STABLESR_768V,
        STABLESR_TURBO,
        STABLESR_SMALL,
        INVSR,
        INVSR_SMALL,
        SEESR,
        SEESR_SMALL,
        ADDSR,
        ADDSR_SMALL,
    )
}
"""What restores photos."""
