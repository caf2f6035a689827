"""`sdsr study steps`: what more steps do, and higher starts or a look back at the result, in one table."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sdsr.cli.measures import chosen_measures, print_rows
from sdsr.cli.options import (
    Choosing,
    Device,
    Features,
    FirstPhotos,
    Json,
    NoiseSeed,
    Perceptual,
    PhotosCsv,
    Prior,
    ProtocolName,
)
from sdsr.metrics.save import check_target


def steps(
    model: Annotated[
        str, typer.Argument(help="A method with a choice of steps (InvSR, AddSR), or a folder of a trained one.")
    ],
    lq: Annotated[Path, typer.Argument(help="Folder of LQ photos.")],
    hr: Annotated[Path, typer.Argument(help="Folder of true photos.")],
    photos: FirstPhotos = None,
    protocol: ProtocolName = "realisr-y",
    features: Features = False,
    choosing: Choosing = False,
    perceptual: Perceptual = None,
    seed: NoiseSeed = 0,
    prior: Prior = None,
    device: Device = None,
    csv: PhotosCsv = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
    json: Json = False,
) -> None:
    """Restore photos in each number of steps that a method was made for, and score every one.

    InvSR's are the paper's lists of one to five times, AddSR's one to four steps with and without self-refinement.
    """
    from sdsr.studies.comparison import Comparison, compare
    from sdsr.studies.samples import paired_samples
    from sdsr.studies.steps import plans_of_steps
    from sdsr.upscaling import Upscaler

    if csv:
        check_target(csv, overwrite=overwrite)
    chosen = chosen_measures(protocol, perceptual, features=features, choosing=choosing)
    samples = paired_samples(lq, hr, photos)
    upscaler = Upscaler.from_pretrained(model, prior=prior, device=device)
    plans = plans_of_steps(upscaler)
    with typer.progressbar(length=len(samples) * len(plans), label=upscaler.recipe.name, file=sys.stderr) as bar:
        comparison = Comparison(samples=samples, protocol=chosen, seed=seed)
        rows = compare(upscaler, plans, comparison, lambda: bar.update(1))
    print_rows(rows, csv=csv, json=json)
