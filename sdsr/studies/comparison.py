"""One comparison for all: a method under several plans on the same test samples, scored.

A plan that another one begins with is read off the longer one's trajectory, and plans that differ in fidelity alone are
decoded from one latent, so photos are restored no oftener than needed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sdsr.job import Job
from sdsr.metrics.benchmark import Scores, score_photo
from sdsr.metrics.pairs import Pair
from sdsr.metrics.planes import Pixels
from sdsr.metrics.protocol import Protocol
from sdsr.photos.photo import Photo
from sdsr.restoration.plan import Plan
from sdsr.restoration.sample import Sampled
from sdsr.studies.consistency import CONSISTENCY, consistency, with_consistency
from sdsr.studies.latents import Latents
from sdsr.studies.samples import Sample
from sdsr.upscaling import Request, Upscaler

Plans = Mapping[str, Plan]
"""By what a row of the table is called."""
Values = dict[str, float | np.ndarray]
"""Of one photo, by the names of the measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is run and measured: all samples with the noise of `seed`, each restored to its truth's size.

    `latents` keeps what is restored, so that an interrupted comparison goes on. `lq_consistency`: behind the protocol's
    measures stands how near the results, reduced again, are to their LQ photos.
    """

    samples: Sequence[Sample]
    protocol: Protocol
    seed: int = 0
    latents: Latents | None = None
    lq_consistency: bool = False


def compare(
    upscaler: Upscaler,
    plans: Plans | Callable[[Photo], Plans],
    comparison: Comparison,
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, Scores]:
    """Return the scores of each plan; `plans` may depend on the LQ photo, but not their labels."""
    rows: dict[str, list[Values]] = {}
    for sample in comparison.samples:
        lq = sample.lq()
        wanted = plans if isinstance(plans, Mapping) else plans(lq)
        found = {}
        for label, values in _measured(upscaler, wanted, comparison, sample, lq):
            found[label] = values
            on_done()
        for label in wanted:
            rows.setdefault(label, []).append(found[label])
    protocol = with_consistency(comparison.protocol) if comparison.lq_consistency else comparison.protocol
    names = tuple(sample.name for sample in comparison.samples)
    return {label: Scores.of_rows(names, values, protocol) for label, values in rows.items()}


def _measured(
    upscaler: Upscaler, plans: Plans, comparison: Comparison, sample: Sample, lq: Photo
) -> Iterator[tuple[str, Values]]:
    """Yield the values of each plan's picture of one sample, in any order."""
    truth = sample.truth()
    height, width = truth.shape[:2]
    job = upscaler.job(lq, Request(width=width, height=height, seed=comparison.seed))
    for label, pixels in _pictures(job, plans, comparison.latents, sample.name):
        values = score_photo(Pair.of(sample.name, pixels, truth), comparison.protocol)
        if comparison.lq_consistency:
            values[CONSISTENCY.name] = consistency(pixels, lq)
        yield label, values


def _pictures(job: Job, plans: Plans, latents: Latents | None, name: str) -> Iterator[tuple[str, Pixels]]:
    waiting = dict(plans)
    while waiting:
        longest = max(waiting.values(), key=lambda plan: len(plan.times))
        for begun, sampled in _along(replace(job, plan=_path(longest)), latents, name):
            labels = [label for label, plan in waiting.items() if _path(plan) == begun.plan]
            if labels and latents is not None:
                latents.keep(name, begun, sampled)
            for label in labels:
                plan = waiting.pop(label)
                yield label, begun.pixels(replace(sampled, fidelity=plan.fidelity))


def _along(job: Job, latents: Latents | None, name: str) -> Iterator[tuple[Job, Sampled]]:
    """Yield what is restored by the beginnings of a job; of one whose latent is kept, that alone."""
    kept = latents.find(name, job) if latents is not None else None
    if kept is not None:
        yield job, kept
        return
    for count, sampled in enumerate(job.steps(), start=1):
        yield replace(job, plan=replace(job.plan, times=job.plan.times[:count])), sampled


def _path(plan: Plan) -> Plan:
    """The plan but for decoding: plans of one path lead to one latent."""
    return replace(plan, fidelity=0.0)
