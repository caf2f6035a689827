"""Tables for people on standard output."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Column, Table


def print_tables(tables: Iterable[Table]) -> None:
    """Print the tables one below the other, an empty line after each."""
    console = Console()
    for table in tables:
        console.print(table, end="\n\n")


def plain_table(*columns: str | Column, title: str | None = None, show_header: bool = True) -> Table:
    """Return a table without lines."""
    return Table(*columns, title=title, title_justify="left", show_header=show_header, box=None, padding=(0, 2, 0, 0))


def numbers(*headings: str) -> tuple[Column, ...]:
    """Return columns of numbers."""
    return tuple(Column(heading, justify="right", no_wrap=True) for heading in headings)
