"""What more steps, a higher start or a look back do to results: tables of one method under several plans.

A plan that another one begins with is read off the longer one's way, so photos are restored no oftener than needed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import InputError
from sdsr.images.floats import image
from sdsr.metrics.benchmark import Scores
from sdsr.metrics.planes import Pixels
from sdsr.metrics.protocol import Protocol
from sdsr.restoration.coloring import finished
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.plan import Plan
from sdsr.restoration.sample import Sampled, trajectory
from sdsr.restoration.windowed import Windowed
from sdsr.studies.choices import tabulated
from sdsr.studies.subjects import Subject

if TYPE_CHECKING:
    from sdsr.upscaling import Upscaler

STARTS = ((1, 250), (1, 200), (1, 150), (1, 100), (2, 200), (3, 250), (3, 200), (3, 150), (4, 200), (5, 250))
"""Steps and starts: those of InvSR's Table 1 (arXiv:2412.09013), and the released lists of two and four steps."""


def plans_of_steps(upscaler: "Upscaler") -> dict[str, Plan]:
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


def scored(
    upscaler: "Upscaler",
    subjects: Sequence[Subject],
    plans: Mapping[str, Plan],
    protocol: Protocol,
    *,
    seed: int = 0,
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, Scores]:
    """Return the scores of each plan on the same photos, each restored to its truth's size."""
    rows = tabulated(subjects, partial(_pictures, upscaler, plans, seed), protocol, on_done)
    return {label: rows[label] for label in plans}


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """A photo at the size of its truth, and what restores it in windows; its pixels are stored like the LQ photo's."""

    photograph: Photograph
    restorer: Windowed
    finished: Callable[[Sampled], Pixels]

    @classmethod
    def of(cls, upscaler: "Upscaler", subject: Subject) -> "Canvas":
        lq, (height, width) = subject.lq(), subject.truth().shape[:2]
        photograph = upscaler.photograph(image(lq), (height, width))
        restorer = upscaler.windowed((photograph.region.height, photograph.region.width), None)
        recipe = upscaler.recipe
        colors: dict[str, Any] = {"color_fix": recipe.color_fix, "adain_floor": recipe.adain_floor}
        colored = partial(finished, restorer, photograph, **colors, dtype=lq.pixels.dtype)
        return cls(photograph=photograph, restorer=restorer, finished=colored)


@torch.inference_mode()
def _pictures(
    upscaler: "Upscaler", plans: Mapping[str, Plan], seed: int, subject: Subject
) -> Iterator[tuple[str, Pixels]]:
    """Yield a photo's result under each plan, in any order."""
    canvas, waiting = Canvas.of(upscaler, subject), dict(plans)
    while waiting:
        longest = max(waiting.values(), key=lambda plan: len(plan.times))
        way = trajectory(canvas.restorer, canvas.photograph, longest, CanvasNoise(seeds=(seed,)))
        for count, sampled in enumerate(way, start=1):
            so_far = replace(longest, times=longest.times[:count])
            for label in [label for label, plan in waiting.items() if plan == so_far]:
                yield label, canvas.finished(sampled)
                del waiting[label]
