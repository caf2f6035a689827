"""`sdsr study tradeoff`: what each fidelity costs and gives against the truth, in one table."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdsr.cli.measures import chosen_measures, print_rows
from sdsr.cli.options import Choosing, Device, Features, Json, NoiseSeed, Perceptual, PhotosCsv, Prior, ProtocolName
from sdsr.errors import InputError
from sdsr.metrics.save import check_target

if TYPE_CHECKING:
    from sdsr.studies.samples import Sample


def tradeoff(
    model: Annotated[str, typer.Argument(help="A method that knows fidelity, or a folder of a trained one.")],
    folders: Annotated[
        list[Path],
        typer.Argument(help="Folder of LQ photos, then that of true photos; the latter alone for --degraded."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the restored latents; those in it are not made again.")
    ] = Path("latents"),
    fidelity: Annotated[
        list[float] | None, typer.Option("--fidelity", "-w", help="0 ... 1, repeatable; 0, 0.5 and 1 by default.")
    ] = None,
    degraded: Annotated[str | None, typer.Option(help="Make LQ photos by this degradation, say photo.")] = None,
    photos: Annotated[int | None, typer.Option(min=1, help="Only so many photos, evenly spaced.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; the method's own by default.")] = None,
    protocol: ProtocolName = "realisr-y",
    features: Features = False,
    choosing: Choosing = False,
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
    from sdsr.studies.samples import evenly_spaced
    from sdsr.studies.tradeoff import FIDELITIES, Tradeoff, compare_fidelities
    from sdsr.upscaling import Upscaler

    if csv:
        check_target(csv, overwrite=overwrite)
    found = _samples(folders, degraded)
    chosen = chosen_measures(protocol, perceptual, features=features, choosing=choosing)
    samples = evenly_spaced(found, photos)
    wanted = Tradeoff(folder=output, fidelities=tuple(fidelity or FIDELITIES), steps=steps, seed=seed)
    upscaler = Upscaler.from_pretrained(model, prior=prior, device=device)
    output.mkdir(parents=True, exist_ok=True)
    total = len(samples) * len(wanted.fidelities)
    with typer.progressbar(length=total, label=upscaler.recipe.name, file=sys.stderr) as bar:
        rows = compare_fidelities(upscaler, samples, wanted, chosen, lambda: bar.update(1))
    print_rows(rows, csv=csv, json=json)


def _samples(folders: Sequence[Path], degraded: str | None) -> "tuple[Sample, ...]":
    from sdsr.data.degradation import degradation
    from sdsr.studies.samples import degraded_samples, paired_samples

    if len(folders) != (1 if degraded else 2):
        raise InputError(
            f"folders (={len(folders)}) must be two, of LQ photos and of true photos, or with --degraded that of true "
            "photos alone; name them so."
        )
    return degraded_samples(folders[0], degradation(degraded)) if degraded else paired_samples(folders[0], folders[1])
