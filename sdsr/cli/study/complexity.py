"""`sdsr study complexity`: how large a method is and how much it computes."""

from collections.abc import Iterator
from dataclasses import asdict
from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sdsr.cli.tables import numbers, plain_table, print_tables
from sdsr.errors import look_up
from sdsr.methods import METHODS

if TYPE_CHECKING:
    from sdsr.studies.complexity import Complexity


def complexity(
    method: Annotated[str, typer.Argument(help="A method; `sdsr models` lists them.")],
    prior: Annotated[str | None, typer.Option(help="Another prior; a known architecture needs no weights.")] = None,
    size: Annotated[int, typer.Option(min=16, help="Side of the photo that is given, in pixels.")] = 128,
    scale: Annotated[int, typer.Option(min=1, help="How much larger the result is.")] = 4,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with exact integers, instead of tables.")] = False,
) -> None:
    """Count the parameters of a method's parts, and the multiply-accumulates (MACs) it takes to restore a photo."""
    from sdsr.studies.complexity import complexity as count_complexity

    found = count_complexity(look_up(METHODS, method, "method"), prior, given_px=size, scale=scale)
    if json:
        typer.echo(dumps(_facts(found), indent=2))
    else:
        print_tables(_tables(found))


def _facts(found: "Complexity") -> dict[str, object]:
    """Everything that was counted, with the sums, as JSON has it."""
    from sdsr.studies.complexity import PHASES

    sums = {phase: asdict(found.macs(phase)) for phase in PHASES}
    return {**asdict(found), "total": {"parameters": found.parameters, "trained": found.trained, **sums}}


def _tables(found: "Complexity") -> Iterator[Table]:
    """The facts for people: parameters, then MACs."""
    from sdsr.studies.complexity import PHASES

    place = f"{found.recipe} on {found.prior}"
    sizes = plain_table("part", "of", *numbers("parameters", "trained"), title=f"{place}: parameters")
    for part in found.parts:
        sizes.add_row(part.name, "method" if part.added else "prior", f"{part.parameters:,}", f"{part.trained:,}")
    sizes.add_row("total", "", f"{found.parameters:,}", f"{found.trained:,}", style="bold")
    for discriminator in found.discriminators:
        sizes.add_row(discriminator.name, "training", f"{discriminator.parameters:,}", f"{discriminator.trained:,}")
    yield sizes
    sides = f"{found.given_px} to {found.size_px} px"
    steps = f"{found.steps} step{'s' if found.steps > 1 else ''}"
    work = plain_table("part", *numbers(*_HEADINGS), title=f"{place}: billions of MACs, {sides}, {steps}")
    for part in found.parts:
        if part.image.total:
            work.add_row(part.name, *(_billions(getattr(part, phase).total) for phase in PHASES))
    sums = [found.macs(phase) for phase in PHASES]
    work.add_row("total", *(_billions(macs.total) for macs in sums), style="bold")
    work.add_row("without attention", *(_billions(macs.layers) for macs in sums))
    yield work


_HEADINGS = ("encode_lq", "one pass", "step", "decode", "image")


def _billions(macs: int) -> str:
    return f"{macs / 1e9:,.1f}" if macs else "-"
