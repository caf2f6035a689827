"""`sdsr models`: what can restore photos, and what can only be trained."""

from collections.abc import Iterator
from typing import Any

import typer

from sdsr.cli.options import Json


def models(json: Json = False) -> None:
    """List the methods: paper, steps, and whether their weights are here, how large and under which licence."""
    rows = describe_all()
    if json:
        import json as encoder

        typer.echo(encoder.dumps(rows, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console()
    for table in _tables(rows):
        console.print(table, end="\n\n")


def describe_all() -> list[dict[str, Any]]:
    """Return a row for each recipe; those that restore photos first."""
    from sdsr.methods import METHODS
    from sdsr.training.recipes import RECIPES

    return [_describe(RECIPES[name]) for name in [*METHODS, *(name for name in RECIPES if name not in METHODS)]]


def _describe(recipe: Any) -> dict[str, Any]:
    """One recipe; `bytes` and `sha256` are those of its trained parts, `prior_bytes` those of an embedded prior."""
    from sdsr.digests import combined_sha256, file_sha256
    from sdsr.method_folders import ASSETS, DESCRIPTION, read_description
    from sdsr.prior.loading import SMALL_PRIOR

    folder = ASSETS / recipe.name
    files = sorted(folder.glob("*.safetensors"))
    noted = read_description(folder) if (folder / DESCRIPTION).is_file() else {}
    prior_files = sorted(SMALL_PRIOR.glob("*.safetensors")) if recipe.prior == "small" else []
    return {
        "name": recipe.name,
        "restores": recipe.plan is not None,
        "summary": recipe.summary,
        "paper": recipe.paper,
        "prior": recipe.prior,
        "steps": len(recipe.plan.times) if recipe.plan else None,
        "embedded": bool(files),
        "bytes": sum(path.stat().st_size for path in files),
        "prior_bytes": sum(path.stat().st_size for path in prior_files),
        "sha256": combined_sha256(map(file_sha256, files)) if files else None,
        "licence": noted.get("licence", "Apache-2.0") if files else None,
    }


def _tables(rows: list[dict[str, Any]]) -> Iterator[Any]:
    """The rows for people: figures in one table, what it is in another, so that both fit a terminal."""
    from rich.table import Table

    headings = {
        "figures": ("name", "steps", "weights", "sha256", "licence"),
        "words": ("name", "paper", "what"),
    }
    cells = {
        "figures": [(row["name"], _steps(row), _weights(row), _short(row["sha256"]), row["licence"]) for row in rows],
        "words": [(row["name"], row["paper"], row["summary"]) for row in rows],
    }
    for name, columns in headings.items():
        table = Table(*columns, box=None, padding=(0, 2, 0, 0))
        for row in cells[name]:
            table.add_row(*(cell or "-" for cell in row))
        yield table


def _steps(row: dict[str, Any]) -> str:
    return str(row["steps"]) if row["restores"] else "training only"


def _weights(row: dict[str, Any]) -> str:
    if not row["embedded"]:
        return "not embedded"
    prior = f" + {row['prior_bytes'] / 2**20:.1f}" if row["prior_bytes"] else ""
    return f"{row['bytes'] / 2**20:.1f}{prior} MiB"


def _short(sha256: str | None) -> str | None:
    return sha256[:12] if sha256 else None
