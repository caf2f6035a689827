"""Models by name or folder: what comes with the package, and what a folder of trained parts says of itself.

Looking one up loads no weights and no torch.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdsr.errors import InputError, ModelError, look_up
from sdsr.method_folders import MethodDescription, embedded_methods, find_method, read_description, weights_sha256

if TYPE_CHECKING:
    from sdsr.methods.recipe import Recipe

DEFAULT_MODEL = "d3sr-small"
_OWN_PRIORS = ("small", "tiny", "tiny-flow")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A trained method's folder, and what its description says: its recipe, its prior, the sha256 of its files."""

    folder: Path
    description: MethodDescription

    @property
    def recipe_name(self) -> str:
        return str(self.description.get("recipe"))

    @property
    def sha256(self) -> str:
        """Stands for all that makes the model's results; loading refuses files and priors of another."""
        return hashlib.sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()

    @property
    def weights_sha256(self) -> str:
        """Stands for all weights: the method's files, those of its base, and the prior's."""
        return weights_sha256(self.description)

    def recipe(self) -> "Recipe":
        """Return the recipe, as the parts were trained; raise ModelError for one that this version doesn't know."""
        from sdsr.methods import METHODS
        from sdsr.methods.trained import trained_recipe

        recipe = look_up(METHODS, self.recipe_name, f"{self.folder}: recipe", "; update sdsr", error=ModelError)
        return trained_recipe(recipe, self.description)

    def prior(self, recipe: "Recipe") -> str:
        """Return the name of the prior it was trained on; the recipe's, where the noted one is no name we know."""
        from sdsr.prior.sources import SOURCES

        noted = self.description.get("prior", recipe.prior)
        return noted if noted in (*_OWN_PRIORS, *SOURCES) else recipe.prior

    def check_prior(self, name: str) -> None:
        """Raise ModelError where a prior of this name is known to be another than it was trained on.

        So a wrong name is told before gigabytes are downloaded; whatever isn't known is compared when it is loaded.
        """
        from sdsr.prior.sources import SOURCES

        noted = self.description.get("prior")
        if Path(name).expanduser().is_dir() or name == noted:
            return
        known = SOURCES[name].sha256 if name in SOURCES else None
        named = name in SOURCES and noted in (*_OWN_PRIORS, *SOURCES)
        if (known or self.description["prior_sha256"]) != self.description["prior_sha256"] or named:
            raise ModelError(
                f"method (={self.folder.name}) was trained on the prior {noted} (sha256 "
                f"{self.description['prior_sha256'][:12]}), not on {name}; leave --prior out, or use parts of that one."
            )


def find_model(model: str | Path) -> ModelFolder:
    """Return the model of that name (embedded), or of a folder that was saved, exported or converted.

    A folder that is called like an embedded model is meant by "./NAME", or by a `Path`. Raises InputError for an
    unknown name, ModelError for a known method whose weights aren't here, or a folder that is none.
    """
    folder = find_method(model) or _missing(str(model))
    return ModelFolder(folder=folder, description=read_description(folder))


def _missing(model: str) -> Path:
    from sdsr.methods import METHODS

    if model in METHODS:
        raise ModelError(
            f"weights of {model} are not embedded; convert a published file with `sdsr convert` or train with "
            "`sdsr train`, and name the folder instead."
        )
    embedded = ", ".join(embedded_methods())
    raise InputError(f"model (={model}) must be one of {embedded}, or a folder of a trained method.")
