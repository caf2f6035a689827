"""`sdsr report`: how far to believe a restored photo, on a page of its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdsr.cli.options import Device, KernelWidth, NoiseSeed, Prior
from sdsr.cli.printing import echo_line
from sdsr.errors import InputError, OutputError
from sdsr.photos.files import read_photo
from sdsr.photos.limits import RESULT_LIMITS
from sdsr.photos.photo import Photo
from sdsr.reports.beside import page_beside, report_result
from sdsr.reports.page import write_report
from sdsr.reports.report import Examined
from sdsr.request import Request
from sdsr.trust.consistency import check_pair

if TYPE_CHECKING:
    from sdsr.restoration.passes import Passes


def report(
    photo: Annotated[Path, typer.Argument(help="The photo as it was given.")],
    result: Annotated[Path, typer.Argument(help="What was made of it, by whatever program.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page (.html); beside the result by default.")
    ] = None,
    passes: Annotated[
        int, typer.Option(min=0, max=8, help="Restore the photo so often (2 to 8) to see where passes disagree.")
    ] = 0,
    kernel_width: KernelWidth = None,
    model: Annotated[str, typer.Option(help="A method, or a folder of a trained one, for --passes.")] = "d3sr-small",
    seed: NoiseSeed = 0,
    prior: Prior = None,
    device: Device = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing page.")] = False,
) -> None:
    """Tell, on a page, how far a restored photo is consistent with its photo and where passes disagree.

    With --passes the model restores the photo again, to the result's size; where the model was calibrated for as many
    (`sdsr study trust`) and the result is the model's own, the page also shows the expected error and a mask with what
    is promised outside of it.
    """
    if passes == 1:
        raise InputError(f"passes (={passes}) must be 0, or 2 ... 8; one pass has nothing to disagree with.")
    page = output or page_beside(result)
    if page.exists() and not overwrite:
        raise OutputError(f"report (={page}) exists; name another with -o, or add --overwrite.")
    given = read_photo(photo)
    made = read_photo(result, RESULT_LIMITS)
    check_pair(made, given)
    if not passes:
        told = report_result(photo.name, given, made, kernel_width=kernel_width)
    else:
        found = _passes(given, made.size, model, passes, seed=seed, prior=prior, device=device)
        examined = Examined(passes=passes, spread=found.spread)
        told = report_result(
            photo.name, given, made, model=model, kernel_width=kernel_width, first=found.first, examined=examined
        )
    write_report(told, page)
    typer.echo(f"{page}")
    for warning in told.warnings:
        echo_line(f"sdsr: warning: {warning}", err=True)


def _passes(
    photo: Photo, size: tuple[int, int], model: str, passes: int, *, seed: int, prior: str | None, device: str | None
) -> "Passes":
    """Return several passes over the photo, at the size (height, width) of the result."""
    from sdsr.upscaling import Upscaler  # torch, which a report without passes does without

    height, width = size
    upscaler = Upscaler.from_pretrained(model, prior=prior, device=device)
    return upscaler.passes(photo, Request(width=width, height=height, seed=seed, label=False), count=passes)
