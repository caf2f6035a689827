"""StableSR's published checkpoints: of the UNet for three recipes, and the wrapping that completes each."""

from sdsr.methods.stablesr.convert import convert, convert_cfw
from sdsr.methods.stablesr.recipes import STABLESR, STABLESR_768V, STABLESR_TURBO

_COMPLETED = (STABLESR, STABLESR_768V, STABLESR_TURBO)

PUBLISHED = {
    **{
        recipe.name: recipe.published(convert=convert, parts=("modulation", "time_aware_encoder"))
        for recipe in _COMPLETED
    },
    "stablesr-cfw": STABLESR.published(
        convert=convert_cfw, parts=("feature_wrapping",), completes=tuple(recipe.name for recipe in _COMPLETED)
    ),
}
