"""Quality along a restoration: the truncated estimate at every time of the plan, measured against the truth.

At time t the restorer's estimate of the clean latent is decoded as if sampling ended there (arXiv:2410.13807, Figs. 2,
6 and 8). A curve shows where fidelity is lost and naturalness won, and what an ablation moves.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from sdsr.metrics.benchmark import score_photo
from sdsr.metrics.pairs import Pair
from sdsr.metrics.planes import Pixels
from sdsr.metrics.plots import Point
from sdsr.metrics.protocol import PROTOCOLS, Protocol
from sdsr.photos.files import Photo
from sdsr.studies.samples import Sample
from sdsr.upscaling import Request, Upscaler

_WHOLE = PROTOCOLS["realisr-y"]
CURVE_PROTOCOL = replace(
    _WHOLE, measures=tuple(measure for measure in _WHOLE.measures if measure.name in ("psnr_y", "ssim_y", "niqe"))
)
"""The measures that are worth their time at every step: fidelity (PSNR-Y, SSIM-Y) and naturalness (NIQE)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What is run: `steps` is the plan's length (None: the method's own), `stop` ends it after that many of its times.

    `color_fix`: each estimate gets the colors of the photo, as a finished result does.
    """

    samples: tuple[Sample, ...]
    seeds: tuple[int, ...] = (0,)
    protocol: Protocol = CURVE_PROTOCOL
    steps: int | None = None
    stop: int | None = None
    color_fix: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one photo's estimate at time `t`, restored with the noise of `seed`."""

    photo: str
    seed: int
    t: int
    values: Mapping[str, float]


def times_of(upscaler: Upscaler, sweep: Sweep) -> tuple[int, ...]:
    """The times at which this method's estimates are measured."""
    return upscaler.plan(sweep.steps).times[: sweep.stop]


def measured(upscaler: Upscaler, sweep: Sweep, done: Collection[tuple[str, int]] = ()) -> Iterator[list[Row]]:
    """Yield the rows of each photo and seed in turn, except for those (photo, seed) that are `done`."""
    for sample in sweep.samples:
        seeds = [seed for seed in sweep.seeds if (sample.name, seed) not in done]
        if not seeds:
            continue
        lq = sample.lq()
        truth = sample.truth()
        for seed in seeds:
            yield [
                Row(photo=sample.name, seed=seed, t=t, values=_values(sample.name, pixels, truth, sweep.protocol))
                for t, pixels in estimates(upscaler, lq, truth.shape[:2], sweep, seed)
            ]


def estimates(
    upscaler: Upscaler, lq: Photo, size: tuple[int, int], sweep: Sweep, seed: int
) -> Iterator[tuple[int, Pixels]]:
    """Yield each time of the plan and the 8-bit picture, (height, width) = `size`, that the method sees there."""
    height, width = size
    color_fix = None if sweep.color_fix else "none"
    request = Request(width=width, height=height, seed=seed, color_fix=color_fix)
    job = upscaler.job(lq, request, plan=upscaler.plan(sweep.steps))
    for sampled in islice(job.steps(), sweep.stop):
        yield sampled.t, job.pixels(sampled, np.uint8)


def curves(rows: Iterable[Row]) -> dict[str, list[Point]]:
    """The curve of each measure, from the plan's first time to its last.

    Rows are those of one method: every photo with every seed. One seed has a deviation of NaN.
    """
    grouped: dict[str, dict[int, dict[int, list[float]]]] = {}
    for row in rows:
        for measure, value in row.values.items():
            grouped.setdefault(measure, {}).setdefault(row.t, {}).setdefault(row.seed, []).append(value)
    return {
        measure: [_point(t, list(by_seed.values())) for t, by_seed in sorted(by_time.items(), reverse=True)]
        for measure, by_time in grouped.items()
    }


def _point(t: int, by_seed: Sequence[Sequence[float]]) -> Point:
    means = [float(np.mean(values)) for values in by_seed]
    deviation = float(np.std(means, ddof=1)) if len(means) > 1 else math.nan
    return Point(t=t, mean=float(np.mean(means)), deviation=deviation)


def _values(name: str, pixels: Pixels, truth: Pixels, protocol: Protocol) -> dict[str, float]:
    found = score_photo(Pair.of(name, pixels, truth), protocol)
    return {measure.name: measure.over_photos(np.array([found[measure.name]])) for measure in protocol.measures}
