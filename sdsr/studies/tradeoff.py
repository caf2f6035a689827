"""What fidelity costs and gives: photos restored once to latents, these decoded at each fidelity, and scored.

StableSR's decoder (arXiv:2305.07015, Sec. 3.3) takes the more of the photo the greater w is. A method whose fidelity
changes its plan restores once for each plan.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sdsr.metrics.benchmark import Scores
from sdsr.metrics.protocol import Protocol
from sdsr.studies.comparison import Comparison, compare
from sdsr.studies.latents import Latents, latent_model
from sdsr.studies.samples import Sample
from sdsr.upscaling import Upscaler

FIDELITIES = (0.0, 0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tradeoff:
    """What is run: `steps` is the plan's length (None: the method's own); latents are kept in `folder`."""

    folder: Path
    fidelities: tuple[float, ...] = FIDELITIES
    steps: int | None = None
    seed: int = 0


def compare_fidelities(
    upscaler: Upscaler,
    samples: Sequence[Sample],
    tradeoff: Tradeoff,
    protocol: Protocol,
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, Scores]:
    """Return the scores of each fidelity on the same photos, with their nearness to the LQ photos.

    Raises InputError, before anything is restored, where the method has no such choice.
    """
    plans = {f"fidelity {each:g}": upscaler.plan(tradeoff.steps, fidelity=each) for each in tradeoff.fidelities}
    latents = Latents(
        folder=tradeoff.folder, model=latent_model(upscaler), device=torch.device(upscaler.restorer.prior.device)
    )
    comparison = Comparison(
        samples=samples, protocol=protocol, seed=tradeoff.seed, latents=latents, lq_consistency=True
    )
    return compare(upscaler, plans, comparison, on_done)
