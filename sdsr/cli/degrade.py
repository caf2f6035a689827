"""`sdsr degrade`: what a recipe's degradation does to a photo."""

from pathlib import Path
from typing import Annotated

import typer

from sdsr.errors import InputError
from sdsr.metrics.save import check_target, save_image
from sdsr.photos.files import read_photo, write_photo


def degrade(
    photo: Annotated[Path, typer.Argument(help="An HQ photo.")],
    recipe: Annotated[
        str | None, typer.Option(help="The degradation of this method: d3sr, invsr, stablesr ...")
    ] = None,
    table: Annotated[str | None, typer.Option(help="A degradation by its own name instead.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first sample; the others count up.")] = 0,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many samples.")] = 8,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The contact sheet: .png, .jpg or .webp.")
    ] = None,
    save_lq: Annotated[Path | None, typer.Option(help="Write the whole photo, degraded with SEED, there.")] = None,
    size: Annotated[int, typer.Option(min=32, help="Side of the photo's busiest square that the sheet shows.")] = 256,
    overwrite: Annotated[bool, typer.Option(help="Replace existing files.")] = False,
) -> None:
    """Show samples of a degradation on a contact sheet, or write one degraded photo."""
    from sdsr.data.degradation import degradation
    from sdsr.studies.degraded import degraded_photo, samples_sheet

    if recipe and table:
        raise InputError(f"--recipe (={recipe}) and --table (={table}) exclude each other; give one of them.")
    if not output and not save_lq:
        raise InputError("nothing to write (=no --output, no --save-lq); give one of them.")
    settings = degradation(table or recipe or "photo")
    for target, image in ((output, True), (save_lq, False)):
        if target:
            check_target(target, overwrite=overwrite, image=image)
    hq = read_photo(photo)
    if output:
        save_image(samples_sheet(hq, settings, range(seed, seed + count), size_px=size), output)
        typer.echo(f"{output}: {count} samples of {settings.name}, seeds {seed} to {seed + count - 1}")
    if save_lq:
        write_photo(degraded_photo(hq, settings, seed), save_lq, overwrite=overwrite)
        typer.echo(f"{save_lq}: {settings.name}, seed {seed}")
