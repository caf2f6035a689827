"""A row of an ablation: a recipe, and what is changed in one of its stages."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sdsr.methods.recipe import Recipe, Stage
from sdsr.methods.settings import with_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What is trained: a stage (named where the recipe has several) of a recipe, with settings changed.

    What no setting reaches, as another model, is a `dataclasses.replace`d recipe. The stage's model must restore.
    """

    recipe: Recipe
    stage: str | None = None
    changes: Mapping[str, object] = field(default_factory=dict)

    def trained(self, changes: Mapping[str, object]) -> Stage:
        """Return the stage with these settings and, over them, the variant's own."""
        return with_settings(self.recipe.stage(self.stage), {**changes, **self.changes})
