"""The methods, one folder per paper; `FOLDERS` is the one place that lists them.

A folder says in `FACTS` what its recipes are, and in `CONVERTERS` which checkpoints it reads, without torch. It has
`recipes.py` with `RECIPES` and `ABLATIONS` (tables of variants, by name), and `published.py` with `PUBLISHED`, the
checkpoints that its authors published, by name.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sdsr.extras import told_of
from sdsr.methods.facts import RecipeFacts

if TYPE_CHECKING:
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


def facts_of(folder: str) -> dict[str, RecipeFacts]:
    """Return what a folder says of its recipes, by name, without torch."""
    return import_module(f"{__name__}.{folder}").FACTS


def converters() -> tuple[str, ...]:
    """Return the names of all published checkpoints that are read, without torch."""
    return tuple(name for folder in FOLDERS for name in import_module(f"{__name__}.{folder}").CONVERTERS)


def all_recipes() -> dict[str, "Recipe"]:
    """Return everything that a folder trains: what restores photos, and what its objectives need."""
    return {recipe.name: recipe for recipes in gather("recipes", "RECIPES") for recipe in recipes}


class Methods(Mapping[str, "Recipe"]):
    """Recipes that restore photos, by name; what needs torch is imported when a recipe of its folder is asked for."""

    def __init__(self) -> None:
        self._folders = {
            name: folder for folder in FOLDERS for name, facts in facts_of(folder).items() if facts.steps is not None
        }

    def __getitem__(self, name: str) -> "Recipe":
        """Return a recipe; raise KeyError for none of that name, ModuleNotFoundError with a remedy without torch."""
        module = f"{__name__}.{self._folders[name]}.recipes"
        try:
            recipes = import_module(module).RECIPES
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"{name}: {told_of(error) or error}", name=error.name) from error
        return next(recipe for recipe in recipes if recipe.name == name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)

    def __contains__(self, name: object) -> bool:
        return name in self._folders


METHODS = Methods()
"""What restores photos."""
