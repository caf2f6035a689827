"""`sdsr study ablation`: the variants of a table, trained under equal budgets and seeds, and scored."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdsr.cli.options import AnotherPrior, Precision, SaveEvery, Threads, split_change
from sdsr.errors import look_up
from sdsr.metrics.tables import aligned

if TYPE_CHECKING:
    from sdsr.methods.variant import Variant


def ablation(
    table: Annotated[str, typer.Argument(help="A table of variants, as d3sr-time.")],
    validation: Annotated[list[Path], typer.Option(help="Photos that are restored and scored; may repeat.")],
    run: Annotated[Path, typer.Option(help="Folder of all its runs; an existing one is resumed.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Folders of photos or shards to train on; may repeat.")
    ] = None,
    pairs: Annotated[
        list[Path] | None, typer.Option(help="Folders of pairs that `sdsr teach` made, where a table wants them.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Rows of the table, where not all; may repeat.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Training time of each variant and seed.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps of each; the recipe's by default.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, each variant is trained with every one: 0,1,2")] = "0",
    sampling_steps: Annotated[int, typer.Option(min=1, help="Steps of restoration, where there is a choice.")] = 20,
    photos: Annotated[int, typer.Option(min=1, help="How many of the validation photos.")] = 24,
    photo_px: Annotated[int, typer.Option(min=192, help="Side of their middle squares.")] = 256,
    clip: Annotated[
        str | None, typer.Option(help="Also CLIP-I and Delta-CLIP-I by the CLIP, or the small prior, in this folder.")
    ] = None,
    prior: AnotherPrior = None,
    init_from: Annotated[
        list[Path] | None, typer.Option("--from", help="Folder of parts that all begin with; may repeat.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting of all variants: batch=8")
    ] = None,
    precision: Precision = "auto",
    save_every: SaveEvery = 300.0,
    threads: Threads = None,
) -> None:
    """Train and score the variants of a table; resumable, killable at any moment."""
    from sdsr.methods.ablations import ABLATIONS
    from sdsr.studies.ablation import AblationSettings, ablate, summary

    settings = AblationSettings(
        data=tuple(data or ()),
        pairs=tuple(pairs or ()),
        validation=tuple(validation),
        minutes=minutes,
        steps=steps,
        seeds=_seeds(seeds),
        sampling_steps=sampling_steps,
        photos=photos,
        photo_px=photo_px,
        clip=clip,
        prior=prior,
        init_from=tuple(init_from or ()),
        changes=dict(split_change(change) for change in changes or ()),
        precision=precision,
        save_every_s=save_every,
        threads=threads,
    )
    results = list(ablate(_rows(look_up(ABLATIONS, table, "table"), only or ()), run, settings))
    if results:
        table_of = aligned(summary(results, settings.measures))
        typer.echo(f"{settings.protocol.description}; means over seeds ± standard deviation.\n\n{table_of}")
    typer.echo(f"figures: {run / 'results.csv'}")


def _rows(table: "Mapping[str, Variant]", only: Sequence[str]) -> "Mapping[str, Variant]":
    unknown = sorted(set(only) - set(table))
    if unknown:
        raise typer.BadParameter(f"--only {unknown[0]} must be one of {', '.join(table)}.")
    return {name: variant for name, variant in table.items() if name in only} if only else table


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(seed) for seed in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"--seeds {text} must be whole numbers: 0,1,2.") from error
