"""`sdsr manifest merge`: the results of several machines in one folder."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from sdsr.batch import audit
from sdsr.cli.options import Json
from sdsr.cli.printing import echo_json, echo_line


def merge(
    folder: Annotated[Path, typer.Argument(help="The folder to have them all; new, or with results of its own.")],
    others: Annotated[list[Path], typer.Argument(help="Folders of results, each with its manifest.")],
    json: Json = False,
) -> None:
    """Bring the results of other folders and what their manifests say into one, as after `upscale --shard`.

    Nothing is replaced. The exit code is 1 if a result is not what its manifest says, or its name is taken by another.
    """
    numbers: Counter[str] = Counter()
    for source, became in audit.merge(folder, others):
        numbers[became] += 1
        if json:
            echo_json({"result": str(source), "became": became})
        elif became in ("different", "not whole"):
            echo_line(f"{source}: {became}, left where it is")
    if not json:
        typer.echo(", ".join(f"{number} {became}" for became, number in sorted(numbers.items())) or "nothing noted")
    if numbers["different"] or numbers["not whole"]:
        raise typer.Exit(1)
