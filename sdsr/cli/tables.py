"""Tables for people on standard output."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table


def print_tables(tables: Iterable[Table]) -> None:
    """Print the tables one below the other, an empty line after each."""
    console = Console()
    for table in tables:
        console.print(table, end="\n\n")
