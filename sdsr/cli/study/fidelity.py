"""`sdsr study fidelity`: how near to the photo results are at each fidelity."""

from pathlib import Path
from typing import Annotated

import typer

from sdsr.cli.options import Device, NoiseSeed, Prior
from sdsr.metrics.comparison import labels_of
from sdsr.metrics.plots import check_plots, plot_lines
from sdsr.metrics.save import save_text
from sdsr.metrics.tables import aligned
from sdsr.photos.files import read_photo


def fidelity(
    model: Annotated[str, typer.Argument(help="A method that knows fidelity, or a folder of a trained one.")],
    photos: Annotated[list[Path], typer.Argument(help="LQ photos.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of fidelity.csv and fidelity.png.")],
    scale: Annotated[float, typer.Option(help="How many times longer each side gets.")] = 4.0,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; the method's own by default.")] = None,
    seed: NoiseSeed = 0,
    prior: Prior = None,
    device: Device = None,
) -> None:
    """Restore photos at fidelities from 0 to 1, and plot how far the results are from the photos enlarged."""
    from sdsr.studies.fidelity import FIDELITIES, distances, distances_csv
    from sdsr.upscaling import Request, Upscaler

    check_plots()
    upscaler = Upscaler.from_pretrained(model, prior=prior, device=device)
    request = Request(scale=scale, steps=steps, seed=seed)
    upscaler.plan(steps, fidelity=FIDELITIES[0])
    found = {
        label: distances(upscaler, read_photo(path), request)
        for label, path in zip(labels_of(photos), photos, strict=True)
    }
    output.mkdir(parents=True, exist_ok=True)
    save_text(distances_csv(found), output / "fidelity.csv")
    plot_lines(found, output / "fidelity.png", x="fidelity", y="distance to the photo enlarged (of 255)")
    lines = [[label, *(f"{value:.2f}" for value in points.values())] for label, points in found.items()]
    typer.echo(f"{aligned([['photo', *map(str, FIDELITIES)], *lines])}\n\n{output}")
