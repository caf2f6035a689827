"""`sdsr study starts`: what the automatic start is worth against any fixed one, on known degradations."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sdsr.cli.options import Device, FirstPhotos, Prior
from sdsr.errors import InputError
from sdsr.metrics.benchmark import Scores
from sdsr.metrics.protocol import protocol
from sdsr.metrics.tables import aligned


def starts(
    model: Annotated[
        str, typer.Argument(help="A method with a choice of starts (InvSR), or a folder of a trained one.")
    ],
    hr: Annotated[Path, typer.Argument(help="Folder of true photos.")],
    photos: FirstPhotos = None,
    crop: Annotated[int | None, typer.Option(min=64, help="Take the middle square of this side.")] = None,
    measure: Annotated[str, typer.Option(help="A measure of the protocol realisr-y.")] = "psnr_y",
    seed: Annotated[int, typer.Option(min=0, help="Seed of degradation and restoration.")] = 0,
    prior: Prior = None,
    device: Device = None,
) -> None:
    """Degrade photos in known ways, restore them from each trained start and from the automatic one, and compare."""
    from sdsr.data.degradation import degradation
    from sdsr.studies.comparison import Comparison, compare
    from sdsr.studies.samples import degraded_samples, redegraded
    from sdsr.studies.starts import DEGRADATIONS, plans_of_starts
    from sdsr.upscaling import Upscaler

    whole = protocol("realisr-y")
    chosen = tuple(one for one in whole.measures if one.name == measure)
    if not chosen:
        raise InputError(f"measure (={measure}) must be one of {', '.join(one.name for one in whole.measures)}.")
    settings = degradation("photo")
    samples = degraded_samples(hr, settings, photos, crop)
    upscaler = Upscaler.from_pretrained(model, prior=prior, device=device)
    plans = plans_of_starts(upscaler)
    rows = {}
    for known in DEGRADATIONS:
        changed = [redegraded(sample, known, settings.scale, seed + index) for index, sample in enumerate(samples)]
        comparison = Comparison(samples=changed, protocol=replace(whole, measures=chosen), seed=seed)
        rows[known.name] = compare(upscaler, plans, comparison)
    head, *lines = _table(rows)
    typer.echo(f"{measure}, {len(samples)} photos, {chosen[0].better} is better\n\n{aligned([head, *lines])}")


def _table(rows: Mapping[str, Mapping[str, Scores]]) -> list[list[str]]:
    """A line for each degradation and one for their mean, a column for each request."""
    labels = list(next(iter(rows.values())))
    measure = next(iter(next(iter(rows.values())).values())).protocol.measures[0]
    figures = {name: [scores.of(measure) for scores in by_label.values()] for name, by_label in rows.items()}
    figures["mean"] = [sum(column) / len(rows) for column in zip(*figures.values(), strict=True)]
    return [
        ["degradation", *labels],
        *([name, *(f"{figure:.{measure.decimals}f}" for figure in line)] for name, line in figures.items()),
    ]
