"""`sdsr`: one command per module of this package and one per module of `study/` and `manifest/`; see table.py."""

import logging
import sys
from typing import Annotated, NoReturn

import typer

import sdsr
from sdsr.allocator import keep_little
from sdsr.cli.collecting import collect_nothing_yet
from sdsr.cli.printing import LineFormatter, echo_line, print_any_name
from sdsr.cli.processors import share_processors
from sdsr.cli.table import COMMANDS, MANIFEST, STUDIES, WITH_METHODS, add_aliases, add_commands
from sdsr.errors import SdsrError
from sdsr.extras import told_of
from sdsr.lean_imports import own_process

app = typer.Typer(
    name="sdsr", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich"
)
study = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
add_commands(app, COMMANDS, "sdsr.cli")
add_commands(study, STUDIES, "sdsr.cli.study")
manifest = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
add_commands(manifest, MANIFEST, "sdsr.cli.manifest")
add_aliases(app)
app.add_typer(manifest, name="manifest", help="Look after a folder of results: how far it is, whole or not, merged.")
app.add_typer(
    study,
    name="study",
    help="Make one table or figure of a paper: ablations, curves, complexity ...",
    rich_help_panel=WITH_METHODS,
)


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
    handler.addFilter(_not_told_already)
    handler.setFormatter(LineFormatter("sdsr: %(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("sdsr").setLevel(logging.INFO if verbose else logging.WARNING)


def _not_told_already(record: logging.LogRecord) -> bool:
    """Whether a record is still to be printed; the hub's library prints its own."""
    return not record.name.startswith("huggingface_hub")


def main() -> None:
    """Run the command line.

    Exit codes: 0; 1 when only some files failed; 2 when nothing could be done with what was given; 130 after Ctrl-C.
    """
    collect_nothing_yet()
    print_any_name()
    own_process()
    keep_little()
    try:
        app()
    except SdsrError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        told = told_of(error)
        if told is None:
            raise
        _fail(told)


def _fail(reason: str) -> NoReturn:
    echo_line(f"sdsr: error: {reason}", err=True)
    sys.exit(2)
