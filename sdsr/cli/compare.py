"""`sdsr compare`: photos side by side."""

from pathlib import Path
from typing import Annotated

import typer

from sdsr.metrics.comparison import Choice, compare_photos
from sdsr.metrics.save import check_target, save_image
from sdsr.metrics.sheet import parse_region


def compare(
    results: Annotated[list[Path], typer.Argument(help="Folders of results, or single photos; one column each.")],
    lq: Annotated[Path | None, typer.Option(help="LQ folder or photo: first column, enlarged by bicubic.")] = None,
    hr: Annotated[Path | None, typer.Option(help="HR folder or photo: last column.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The sheet: .png, .jpg or .webp.")] = Path(
        "compare.png"
    ),
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many photos of the folders.")] = 6,
    only: Annotated[list[str] | None, typer.Option(help="Only the photo of this name; repeatable.")] = None,
    crop: Annotated[
        str | None, typer.Option(help="x,y,size of the zoom, in output pixels; default: where HR is busiest.")
    ] = None,
    zoom: Annotated[int, typer.Option(min=8, help="Side of the zoom where --crop isn't given.")] = 96,
    cell: Annotated[int, typer.Option(min=64, max=2048, help="Side of each picture on the sheet.")] = 256,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing sheet.")] = False,
) -> None:
    """Lay LQ, results and HR side by side, each photo with one region enlarged."""
    check_target(output, overwrite=overwrite, image=True)
    region = parse_region(crop) if crop else None
    choice = Choice(names=tuple(only or ()), count=count, region=region, zoom_px=zoom)
    save_image(compare_photos(results, lq=lq, truth=hr, choice=choice, cell_px=cell), output)
    typer.echo(f"{output}")
