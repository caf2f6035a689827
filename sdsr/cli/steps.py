"""`sdsr steps`: what more steps and higher starts do, in one table."""

from pathlib import Path
from typing import Annotated

import typer

from sdsr.cli.options import Device, FirstPhotos, Json, NoiseSeed, Perceptual, PhotosCsv, Prior, ProtocolName


def steps(
    model: Annotated[
        str, typer.Argument(help="A method with a choice of starts (InvSR), or a folder of a trained one.")
    ],
    lq: Annotated[Path, typer.Argument(help="Folder of LQ photos.")],
    hr: Annotated[Path, typer.Argument(help="Folder of true photos.")],
    photos: FirstPhotos = None,
    protocol: ProtocolName = "realisr-y",
    perceptual: Perceptual = None,
    seed: NoiseSeed = 0,
    prior: Prior = None,
    device: Device = None,
    csv: PhotosCsv = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
    json: Json = False,
) -> None:
    """Restore photos along each of the paper's lists of one to five times, and score every list."""
    from sdsr.evaluation import report
    from sdsr.evaluation.choices import requests_of_steps, scored
    from sdsr.evaluation.perceptual import with_perceptual
    from sdsr.evaluation.protocol import protocol as protocol_named
    from sdsr.evaluation.save import check_target, save_text
    from sdsr.evaluation.subjects import paired_subjects
    from sdsr.upscaling import Request, Upscaler

    if csv:
        check_target(csv, overwrite=overwrite)
    chosen, subjects = with_perceptual(protocol_named(protocol), perceptual or []), paired_subjects(lq, hr, photos)
    upscaler = Upscaler.from_pretrained(model, prior=prior, device=device)
    requests = requests_of_steps(upscaler, Request(seed=seed))
    with typer.progressbar(length=len(subjects) * len(requests), label=upscaler.recipe.name) as bar:
        rows = scored(upscaler, subjects, requests, chosen, lambda: bar.update(1))
    if csv:
        save_text(report.table_csv(rows), csv)
    typer.echo(report.table_json(rows) if json else report.markdown(rows))
