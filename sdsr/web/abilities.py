"""What can be wished of each embedded model: steps, fidelity, prompts; noted beside this file, as recipes take torch.

`python -m sdsr.web.abilities > sdsr/web/abilities.json` asks the recipes again; a test tells when that is needed.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, Field, TypeAdapter

from sdsr.errors import InputError, look_up
from sdsr.extras import methods_here
from sdsr.graphs.description import has_graphs
from sdsr.method_folders import embedded_methods
from sdsr.request import Request

NOTED = Path(__file__).with_name("abilities.json")


class Abilities(BaseModel):
    """A model, and what can be wished of it."""

    name: str = Field(examples=["d3sr-small"])
    summary: str
    paper: str
    steps: int
    most_steps: int
    choice_of_steps: bool
    fidelity: float | None = Field(description="The model's own; null where it has no such choice.")
    prompts: list[str] | None = Field(description="The prompts it knows, where those are few.")
    free_prompt: bool = Field(description="Whether it takes any prompt.")
    heeds_seed: bool = Field(description="Whether it draws noise, so that another seed gives another picture.")


_ALL = TypeAdapter(list[Abilities])


def noted_abilities() -> list[Abilities]:
    """Return the facts of the embedded models that an interface asks for, as they are noted."""
    return _ALL.validate_json(NOTED.read_bytes())


def abilities_here() -> list[Abilities]:
    """Return the same of the models that can be loaded here: without the extra `methods`, those that have graphs."""
    folders = embedded_methods()
    return [each for each in noted_abilities() if methods_here() or has_graphs(folders[each.name])]


def chosen_of(models: Sequence[Abilities], name: str) -> Abilities:
    """Return the model of that name; raise InputError where it isn't among these, and name the extra that it lacks."""
    known = {each.name: each for each in models}
    if name not in known and name in embedded_methods():
        raise InputError(
            f"model (={name}) needs torch, which isn't here; choose {', '.join(known)}, or, where the service runs, "
            "pip install 'sdsr[methods]' and start it again."
        )
    return look_up(known, name, "model")


def abilities_of(name: str) -> Abilities:
    """Return the same of one model, asked of its recipe, and of its parts whether they draw; that takes torch."""
    from sdsr.prior.small import PROMPTS
    from sdsr.upscaling import Upscaler

    upscaler = Upscaler.from_pretrained(name)
    recipe = upscaler.recipe
    method = recipe.restoring
    plan = method.own_plan

    def allows(request: Request) -> bool:
        try:
            method.plan(request)
        except InputError:
            return False
        return True

    own = len(plan.times)
    return Abilities(
        name=name,
        summary=recipe.summary,
        paper=recipe.paper,
        steps=own,
        most_steps=max(recipe.most_steps, own),
        choice_of_steps=allows(Request(steps=own % recipe.most_steps + 1)) and recipe.most_steps > 1,
        fidelity=plan.fidelity if allows(Request(fidelity=0.5)) else None,
        prompts=list(PROMPTS) if recipe.listens and recipe.prior == "small" else None,
        free_prompt=recipe.listens and recipe.prior != "small",
        heeds_seed=upscaler.maker.heeds_seed(plan),
    )


if __name__ == "__main__":
    facts = _ALL.dump_json([abilities_of(name) for name in embedded_methods()], indent=2)
    sys.stdout.buffer.write(facts + b"\n")
