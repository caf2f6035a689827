"""`sdsr study similarity`: how near photos are to descriptions, in CLIP's eyes."""

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from sdsr.cli.options import Json
from sdsr.errors import InputError
from sdsr.metrics.comparison import labels_of
from sdsr.metrics.pairs import read_pixels
from sdsr.metrics.tables import aligned


def similarity(
    photos: Annotated[list[Path], typer.Argument(help="Photos; of the first one, versions can be made.")],
    text: Annotated[list[str], typer.Option(help="A description; repeatable.")],
    clip: Annotated[Path, typer.Option(help="Folder of a whole CLIP: both towers and the tokenizer.")],
    degraded: Annotated[str | None, typer.Option(help="Also the first photo degraded, by a table or method.")] = None,
    restored: Annotated[
        list[str] | None, typer.Option(help="Also the degraded photo restored by this method or folder; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of degradation and restoration.")] = 0,
    json: Json = False,
) -> None:
    """Compare photos, and degraded and restored versions of the first, with descriptions by CLIP's cosine."""
    from sdsr.data.degradation import degradation
    from sdsr.metrics.clip import load_clip, similarities
    from sdsr.studies.similarity import versions

    if restored and not degraded:
        raise InputError(f"--restored (={restored[0]}) needs a degraded photo to restore; give --degraded too.")
    towers = load_clip(clip)
    pictures = {label: read_pixels(path) for label, path in zip(labels_of(photos), photos, strict=True)}
    if degraded:
        pictures |= versions(photos[0], degradation(degraded), restored or [], seed)
    found = similarities(pictures, text, towers)
    if json:
        typer.echo(dumps({"clip": str(clip), "seed": seed, "texts": text, "photos": found}, indent=2))
    else:
        rows = [[label, *(f"{cosine:.4f}" for cosine in cosines)] for label, cosines in found.items()]
        typer.echo(f"Cosine by the CLIP in {clip}\n\n{aligned([['photo', *text], *rows])}")
