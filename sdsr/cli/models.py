"""`sdsr models`: what can restore photos, and what can only be trained."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from json import dumps

import typer
from rich.table import Table

from sdsr.cli.options import Json
from sdsr.cli.tables import plain_table, print_tables
from sdsr.digests import combined_sha256, file_sha256
from sdsr.embedded import FACTS
from sdsr.graphs.description import has_graphs
from sdsr.method_folders import ASSETS, DESCRIPTION, read_description
from sdsr.methods import FOLDERS, facts_of
from sdsr.methods.facts import RecipeFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One recipe; `bytes` and `sha256` are those of its trained parts, `prior_bytes` those of an embedded prior.

    `extra` is the one of the package that it takes to restore with it, or to train it; None where the core does.
    """

    name: str
    restores: bool
    summary: str
    paper: str
    prior: str
    steps: int | None
    embedded: bool
    bytes: int
    prior_bytes: int
    sha256: str | None
    licence: str | None
    extra: str | None

    @property
    def weights(self) -> str:
        if not self.embedded:
            return "not embedded"
        prior = f" + {self.prior_bytes / 2**20:.1f}" if self.prior_bytes else ""
        return f"{self.bytes / 2**20:.1f}{prior} MiB"


def models(json: Json = False) -> None:
    """List the methods: paper, steps, and whether their weights are here, how large and under which licence."""
    known = [*(facts for folder in FOLDERS for facts in facts_of(folder).values()), *FACTS.values()]
    rows = [_row(facts) for facts in sorted(known, key=lambda facts: facts.steps is None)]
    if json:
        typer.echo(dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
    else:
        print_tables(_tables(rows))


def _row(facts: RecipeFacts) -> Row:
    folder = ASSETS / facts.name
    files = sorted(folder.glob("*.safetensors"))
    noted = read_description(folder) if (folder / DESCRIPTION).is_file() else {}
    prior_files = sorted((ASSETS / "small-prior").glob("*.safetensors")) if facts.prior == "small" else []
    return Row(
        name=facts.name,
        restores=facts.steps is not None,
        summary=facts.summary,
        paper=facts.paper,
        prior=facts.prior,
        steps=facts.steps,
        embedded=bool(files),
        bytes=sum(path.stat().st_size for path in files),
        prior_bytes=sum(path.stat().st_size for path in prior_files),
        sha256=combined_sha256(map(file_sha256, files)) if files else None,
        licence=noted.get("licence", "Apache-2.0") if files else None,
        extra=None if has_graphs(folder) else "methods",
    )


def _tables(rows: Sequence[Row]) -> Iterator[Table]:
    """The rows for people: figures in one table, what it is in another, so that both fit a terminal."""
    figures = plain_table("name", "steps", "weights", "sha256", "licence")
    words = plain_table("name", "paper", "what")
    for row in rows:
        steps = str(row.steps) if row.restores else "training only"
        figures.add_row(row.name, steps, row.weights, (row.sha256 or "-")[:12], row.licence or "-")
        words.add_row(row.name, row.paper or "-", row.summary or "-")
    yield figures
    yield words
    lean = ", ".join(row.name for row in rows if row.extra is None)
    said = plain_table(show_header=False)
    said.add_row(f"{lean} restores without torch; all others need it: pip install 'sdsr\\[methods]'.")
    yield said
