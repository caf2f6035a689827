"""SeeSR's and AddSR's published checkpoints, which hold the same parts."""

from sdsr.methods.addsr.convert import convert
from sdsr.methods.addsr.recipes import ADDSR, SEESR

PUBLISHED = {
    recipe.name: recipe.published(convert=convert, parts=("controlnet", "control_attention", "attention", "tagger"))
    for recipe in (SEESR, ADDSR)
}
