"""`sdsr study starts`: what the automatic start is worth against any fixed one, on synthetic damage."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdsr.cli.options import Device, FirstPhotos, Prior

if TYPE_CHECKING:
    from sdsr.metrics.benchmark import Scores

AUTOMATIC = "auto"


def starts(
    model: Annotated[
        str, typer.Argument(help="A method with a choice of starts (InvSR), or a folder of a trained one.")
    ],
    hr: Annotated[Path, typer.Argument(help="Folder of true photos.")],
    photos: FirstPhotos = None,
    crop: Annotated[int | None, typer.Option(min=64, help="Take the middle square of this side.")] = None,
    measure: Annotated[str, typer.Option(help="A measure of the protocol realisr-y.")] = "psnr_y",
    seed: Annotated[int, typer.Option(min=0, help="Seed of damage and restoration.")] = 0,
    prior: Prior = None,
    device: Device = None,
) -> None:
    """Degrade photos in known ways, restore them from each trained start and from the automatic one, and compare."""
    from dataclasses import replace

    from sdsr.data.degradation import degradation
    from sdsr.errors import InputError
    from sdsr.metrics.protocol import protocol
    from sdsr.metrics.report import aligned
    from sdsr.studies.choices import DAMAGES, damaged, scored
    from sdsr.studies.subjects import degraded_subjects
    from sdsr.upscaling import Request, Upscaler

    whole = protocol("realisr-y")
    chosen = tuple(one for one in whole.measures if one.name == measure)
    if not chosen:
        raise InputError(f"measure (={measure}) must be one of {', '.join(one.name for one in whole.measures)}.")
    settings = degradation("photo")
    subjects = degraded_subjects(hr, settings, photos, crop)
    upscaler = Upscaler.from_pretrained(model, prior=prior, device=device)
    if not upscaler.recipe.starts:
        raise InputError(f"model (={model}) has no choice of starts; try invsr-small.")
    fixed = {str(start): Request(seed=seed, start=start) for start in upscaler.recipe.starts}
    requests = fixed | {AUTOMATIC: Request(seed=seed, start="auto")}
    rows = {}
    for damage in DAMAGES:
        spoiled = [damaged(subject, damage, settings.scale, seed + index) for index, subject in enumerate(subjects)]
        rows[damage.name] = scored(upscaler, spoiled, requests, replace(whole, measures=chosen))
    head, *lines = _table(rows)
    typer.echo(f"{measure}, {len(subjects)} photos, {chosen[0].better} is better\n\n{aligned([head, *lines])}")


def _table(rows: "dict[str, dict[str, Scores]]") -> list[list[str]]:
    """A line for each damage and one for their mean, a column for each request."""
    labels = list(next(iter(rows.values())))
    measure = next(iter(next(iter(rows.values())).values())).protocol.measures[0]
    figures = {name: [scores.of(measure) for scores in by_label.values()] for name, by_label in rows.items()}
    figures["mean"] = [sum(column) / len(rows) for column in zip(*figures.values(), strict=True)]
    return [
        ["damage", *labels],
        *([name, *(f"{figure:.{measure.decimals}f}" for figure in line)] for name, line in figures.items()),
    ]
