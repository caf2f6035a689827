"""The plans of methods: what can be wished of each, and what is refused, with and without a photo."""

from dataclasses import replace

import pytest
import torch

from sdsr.embedded import FACTS
from sdsr.errors import InputError
from sdsr.methods import FOLDERS, METHODS, all_recipes, facts_of
from sdsr.methods.recipe import Recipe
from sdsr.request import Request
from sdsr.restoration.plan import Plan
from sdsr.training.recipes import RECIPES

METHOD = pytest.mark.parametrize("recipe", METHODS.values(), ids=METHODS)


def plan(recipe: Recipe, *, photo: torch.Tensor | None = None, **wished) -> Plan:
    assert recipe.method is not None
    return recipe.method.plan(Request(**wished), photo)


@pytest.mark.parametrize("folder", FOLDERS)
def test_facts_that_are_missing_are_told_with_the_file_that_lacks_them(folder: str) -> None:
    where = rf"recipe \(=mine-small\) has no facts; add .*'mine-small'.* to FACTS in sdsr/methods/{folder}/__init__\.py"
    with pytest.raises(InputError, match=where):
        facts_of(folder)["mine-small"]
    assert "mine-small" not in facts_of(folder)


def test_what_is_told_without_torch_is_so() -> None:
    told = [facts for folder in FOLDERS for facts in facts_of(folder).values()] + [*FACTS.values()]
    assert sorted(told, key=str) == sorted((recipe.facts for recipe in RECIPES.values()), key=str)
    assert [recipe.facts.steps for recipe in METHODS.values()] == [
        recipe.plan and len(recipe.plan.times) for recipe in METHODS.values()
    ]


@METHOD
def test_without_wishes_the_plan_is_the_methods_own(recipe: Recipe):
    assert plan(recipe) == recipe.plan
    assert recipe.plan is not None
    assert plan(recipe, steps=len(recipe.plan.times)) == recipe.plan


@METHOD
def test_as_many_steps_as_the_recipe_says_can_be_wished_and_no_more(recipe: Recipe):
    for steps in {1, 2, recipe.most_steps}:
        if recipe.most_steps > 1:
            assert len(plan(recipe, steps=min(steps, recipe.most_steps)).times) == min(steps, recipe.most_steps)
    with pytest.raises(InputError, match=rf"={recipe.most_steps + 1}\)"):
        plan(recipe, steps=recipe.most_steps + 1)


@METHOD
def test_steps_of_an_own_plan_keep_its_times(recipe: Recipe):
    """As a folder's parts were trained at them, and not at those of its number of steps."""
    assert recipe.plan is not None
    trained = recipe.with_plan(replace(recipe.plan, times=(777, 3)))
    assert plan(trained, steps=2).times == (777, 3)
    assert trained.plan != recipe.plan


@METHOD
def test_a_start_is_one_of_the_trained_ones_where_there_are_any(recipe: Recipe):
    for start in recipe.starts:
        assert plan(recipe, start=start).start_time == start - 1
        assert plan(recipe, start=start, steps=2).start_time == start - 1
    reason = "must be one of 250, 200, 150, 100" if recipe.starts else "means nothing to this method"
    with pytest.raises(InputError, match=reason):
        plan(recipe, start=123)
    if recipe.starts:
        assert plan(recipe, start=123, untrained_start=True).times == (122,)
        with pytest.raises(InputError, match=r"fidelity \(=0.5\) chooses the start \(=250\)"):
            plan(recipe, start=250, fidelity=0.5)


@METHOD
def test_auto_lets_the_photo_choose_and_says_why(recipe: Recipe):
    noisy = (0.5 + 0.2 * torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    if not recipe.starts:
        with pytest.raises(InputError, match=r"start \(=auto\) means nothing"):
            plan(recipe, photo=noisy, start="auto")
        return
    chosen = plan(recipe, photo=noisy, start="auto")
    assert chosen.times == (99,)
    assert chosen.reason is not None
    assert chosen.reason.startswith("start 100, 1 step: very noisy")
    assert plan(recipe, start="auto") == recipe.plan
    with pytest.raises(InputError, match="chooses the start"):
        plan(recipe, start="auto", fidelity=1)
    with pytest.raises(InputError, match=r"steps \(=9\)"):
        plan(recipe, start="auto", steps=9)


def test_fidelity_is_a_share_that_means_something_to_those_that_can_be_nearer():
    able = {"consissr", "consissr-published", "stablesr", "stablesr-768v", "stablesr-turbo", "invsr"}
    able |= {"d3sr-small", "consissr-small", "stablesr-small", "invsr-small", "seesr-small", "addsr-small"}
    for name, recipe in METHODS.items():
        if name in able:
            assert plan(recipe, fidelity=1) != plan(recipe, fidelity=0)
            with pytest.raises(InputError, match=r"fidelity \(=1.5\) must be in 0 \.\.\. 1"):
                plan(recipe, fidelity=1.5)
        else:
            with pytest.raises(InputError, match="means nothing"):
                plan(recipe, fidelity=0.25)


def test_the_registry_names_what_restores():
    """Names are known without the folders, and are those of the recipes in them, in their order."""
    restoring = [name for name, recipe in all_recipes().items() if recipe.facts.steps is not None]
    assert list(METHODS) == restoring
    assert [recipe.name for recipe in METHODS.values()] == restoring
    with pytest.raises(KeyError):
        METHODS["made-up"]
