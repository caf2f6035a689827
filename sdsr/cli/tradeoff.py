"""`sdsr tradeoff`: what each fidelity costs and gives against the truth, in one table."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sdsr.cli.options import Device, Json, NoiseSeed, Perceptual, PhotosCsv, Prior, ProtocolName


def tradeoff(
    model: Annotated[str, typer.Argument(help="A method that knows fidelity, or a folder of a trained one.")],
    lq: Annotated[Path, typer.Argument(help="Folder of LQ photos.")],
    hr: Annotated[Path, typer.Argument(help="Folder of true photos.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the restored latents; those in it are not made again.")
    ] = Path("latents"),
    fidelity: Annotated[
        list[float] | None, typer.Option("--fidelity", "-w", help="0 ... 1, repeatable; 0, 0.5 and 1 by default.")
    ] = None,
    photos: Annotated[int | None, typer.Option(min=1, help="Only so many photos, evenly spaced.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; the method's own by default.")] = None,
    protocol: ProtocolName = "realisr-y",
    perceptual: Perceptual = None,
    seed: NoiseSeed = 0,
    prior: Prior = None,
    device: Device = None,
    csv: PhotosCsv = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing CSV file.")] = False,
    json: Json = False,
) -> None:
    """Restore photos once to latents, decode them at each fidelity, and score every fidelity.

    The same command goes on after an interruption; other fidelities of the same photos need no restoring.
    """
    from sdsr.metrics import report
    from sdsr.metrics.perceptual import with_perceptual
    from sdsr.metrics.protocol import protocol as protocol_named
    from sdsr.metrics.save import check_target, save_text
    from sdsr.studies.subjects import paired_subjects
    from sdsr.studies.tradeoff import FIDELITIES, Tradeoff, evenly_spaced, scored
    from sdsr.upscaling import Upscaler

    if csv:
        check_target(csv, overwrite=overwrite)
    chosen, subjects = with_perceptual(protocol_named(protocol), perceptual or []), paired_subjects(lq, hr)
    subjects = evenly_spaced(subjects, photos)
    wanted = Tradeoff(folder=output, fidelities=tuple(fidelity or FIDELITIES), steps=steps, seed=seed)
    upscaler = Upscaler.from_pretrained(model, prior=prior, device=device)
    output.mkdir(parents=True, exist_ok=True)
    total = len(subjects) * len(wanted.fidelities)
    with typer.progressbar(length=total, label=upscaler.recipe.name, file=sys.stderr) as bar:
        rows = scored(upscaler, subjects, wanted, chosen, lambda: bar.update(1))
    if csv:
        save_text(report.table_csv(rows), csv)
    typer.echo(report.table_json(rows) if json else report.markdown(rows))
