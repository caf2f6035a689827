"""`sdsr`: one command per module of this package; none of them imports torch before it runs."""

import logging
import sys
from typing import Annotated

import typer

import sdsr
from sdsr.cli.ablate import ablate
from sdsr.cli.compare import compare
from sdsr.cli.complexity import complexity
from sdsr.cli.convert import convert
from sdsr.cli.critic_features import critic_features
from sdsr.cli.curves import curves
from sdsr.cli.degrade import degrade
from sdsr.cli.doctor import doctor
from sdsr.cli.evaluate import evaluate
from sdsr.cli.export import export
from sdsr.cli.fidelity import fidelity
from sdsr.cli.methods import methods
from sdsr.cli.printing import LineFormatter, echo_line, print_any_name
from sdsr.cli.processors import share_processors
from sdsr.cli.similarity import similarity
from sdsr.cli.starts import starts
from sdsr.cli.steps import steps
from sdsr.cli.strength import strength
from sdsr.cli.teach import teach
from sdsr.cli.tradeoff import tradeoff
from sdsr.cli.train import train
from sdsr.cli.upscale import upscale
from sdsr.errors import SdsrError

COMMANDS = (
    upscale,
    methods,
    complexity,
    train,
    teach,
    ablate,
    export,
    convert,
    evaluate,
    compare,
    curves,
    steps,
    starts,
    fidelity,
    tradeoff,
    critic_features,
    similarity,
    strength,
    degrade,
    doctor,
)

app = typer.Typer(
    name="sdsr", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich"
)
for command in COMMANDS:
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sdsr {sdsr.__version__}")
        raise typer.Exit


@app.callback()
def configure(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also say what is being done.")] = False,
) -> None:
    """Restore and enlarge photos with diffusion priors, train the methods that do it, and measure the results."""
    share_processors()
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter("sdsr: %(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("sdsr").setLevel(logging.INFO if verbose else logging.WARNING)


def main() -> None:
    """Run the command line.

    Exit codes: 0; 1 when only some files failed; 2 when nothing could be done with what was given; 130 after Ctrl-C.
    """
    print_any_name()
    try:
        app()
    except SdsrError as error:
        echo_line(f"sdsr: error: {error}", err=True)
        sys.exit(2)
