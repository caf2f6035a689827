"""Which numbers of steps, starts and looks back a method was made for: the plans that `sdsr study steps` compares."""

from dataclasses import replace

from sdsr.errors import InputError
from sdsr.restoration.plan import Plan
from sdsr.upscaling import Upscaler

STARTS = ((1, 250), (1, 200), (1, 150), (1, 100), (2, 200), (3, 250), (3, 200), (3, 150), (4, 200), (5, 250))
"""Steps and starts: those of InvSR's Table 1 (arXiv:2412.09013), and the released lists of two and four steps."""


def plans_of_steps(upscaler: Upscaler) -> dict[str, Plan]:
    """Return the plans to compare, by their label; InputError where a method has one number of steps that counts.

    InvSR's are `STARTS`, in the paper's counting; AddSR's are one to all steps, with self-refinement and without.
    """
    if upscaler.recipe.starts:
        plans = [upscaler.plan(steps, start=start) for steps, start in STARTS]
        return {f"{len(plan.times)}: " + ", ".join(str(t + 1) for t in plan.times): plan for plan in plans}
    own = upscaler.plan()
    if own.refinement is None:
        raise InputError(
            f"model (={upscaler.recipe.name}) has neither starts nor self-refinement; try invsr-small or addsr-small."
        )
    found = {"1": upscaler.plan(1)}
    for steps in range(2, len(own.times) + 1):
        refined = upscaler.plan(steps)
        found |= {f"{steps}, refined": refined, f"{steps}, not refined": replace(refined, refinement=None)}
    return found
