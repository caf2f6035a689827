"""The methods, one folder per paper; `FOLDERS` is the one place that lists them.

A folder has `recipes.py` with `RECIPES` and `ABLATIONS` (tables of variants, by name), and `published.py` with
`PUBLISHED`, the checkpoints that its authors published, by name.
"""

from importlib import import_module
from typing import Any

from sdsr.methods.recipe import Recipe

FOLDERS = (
    "one_step",
    "consissr",
    "stablesr",
    "invsr",
    "addsr",
)


def gather(module: str, name: str) -> list[Any]:
    """Return what each folder's module of this name calls `name`."""
    return [getattr(import_module(f"{__name__}.{folder}.{module}"), name) for folder in FOLDERS]


RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipes in gather("recipes", "RECIPES") for recipe in recipes}
"""Everything that a folder trains: what restores photos, and what its objectives need."""

METHODS: dict[str, Recipe] = {name: recipe for name, recipe in RECIPES.items() if recipe.method is not None}
"""What restores photos."""
