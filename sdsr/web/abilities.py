"""What can be wished of a model: steps, starts, fidelity, prompts; asked of its recipe, without its weights."""

from dataclasses import replace
from typing import Any

from sdsr.errors import InputError
from sdsr.models import find_model
from sdsr.prior.small import PROMPTS
from sdsr.request import Wishes


def abilities_of(name: str) -> dict[str, Any]:
    """Return the facts of an embedded model that an interface asks for."""
    recipe = find_model(name).recipe()
    assert recipe.method is not None, "what is embedded restores"
    assert recipe.plan is not None, "it has a plan"
    method = recipe.method

    def allows(wishes: Wishes) -> bool:
        try:
            method.plan(wishes)
        except InputError:
            return False
        return True

    own = len(recipe.plan.times)
    return {
        "name": name,
        "summary": recipe.summary,
        "paper": recipe.paper,
        "steps": own,
        "most_steps": max(recipe.most_steps, own),
        "choice_of_steps": allows(replace(Wishes(), steps=own % recipe.most_steps + 1)) and recipe.most_steps > 1,
        "fidelity": recipe.plan.fidelity if allows(Wishes(fidelity=0.5)) else None,
        "starts": list(recipe.starts),
        "prompts": list(PROMPTS) if recipe.listens and recipe.prior == "small" else None,
        "free_prompt": recipe.listens and recipe.prior != "small",
    }
