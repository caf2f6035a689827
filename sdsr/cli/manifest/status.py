"""`sdsr manifest status`: how far a folder of results is."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sdsr.batch import audit
from sdsr.cli.options import Json
from sdsr.cli.printing import echo_json


def status(
    folder: Annotated[Path, typer.Argument(help="A folder of results.")],
    json: Json = False,
) -> None:
    """Tell how many results are done, being made, interrupted, missing, or unknown to the manifest."""
    found = audit.status(folder)
    if json:
        echo_json(asdict(found))
        return
    for name, number in asdict(found).items():
        typer.echo(f"{name.replace('_', ' '):<12}{number:>8}")
