"""`sdsr manifest verify`: whether results are what was written."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from sdsr.batch import audit
from sdsr.cli.options import Json
from sdsr.cli.printing import echo_json, echo_line


def verify(
    folder: Annotated[Path, typer.Argument(help="A folder of results.")],
    json: Json = False,
) -> None:
    """Read every result and tell those that are missing or not what was written.

    The exit code is 1 if there are any. What was interrupted is told, too: the next run makes it.
    """
    numbers: Counter[str] = Counter()
    for name, state in audit.verify(folder):
        numbers[state] += 1
        if json:
            echo_json({"result": name, "state": state})
        elif state != "whole":
            echo_line(f"{folder / name}: {state}")
    if not json:
        typer.echo(", ".join(f"{number} {state}" for state, number in sorted(numbers.items())) or "nothing noted")
    if numbers["missing"] or numbers["changed"]:
        raise typer.Exit(1)
