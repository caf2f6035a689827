"""A recipe as parts were trained, which may have changed its method and its times."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

from sdsr.checkpoints.weights import METHOD, run_metadata
from sdsr.method_folders import MethodDescription
from sdsr.methods.recipe import Recipe
from sdsr.methods.settings import with_settings


def left_out(method: object, whole: object) -> dict[str, None]:
    """Return the settings of the `whole` method that are None in the one that a stage trains: what comes later."""
    if type(method) is not type(whole) or not is_dataclass(whole):
        return {}
    names = [field.name for field in fields(whole)]
    return {name: None for name in names if getattr(method, name) is None and getattr(whole, name) is not None}


def run_recipe(recipe: Recipe, parts: Path) -> Recipe:
    """Return the recipe whose method is as a training run changed it."""
    return _with_method(recipe, json.loads(run_metadata(parts).get(METHOD, "{}")))


def _with_method(recipe: Recipe, changes: Mapping[str, object]) -> Recipe:
    return with_settings(recipe, {f"{METHOD}.{name}": value for name, value in changes.items()})


def trained_recipe(recipe: Recipe, description: MethodDescription) -> Recipe:
    """Return the recipe with the method and the times that the described parts were trained with."""
    recipe = _with_method(recipe, description.get("method", {}))
    return recipe.with_plan(replace(recipe.restoring.own_plan, times=tuple(description["times"])))
