"""The frame of the command line: help is light, errors are one line, exit codes say what happened."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner

import sdsr
from sdsr.cli import main as cli
from sdsr.errors import InputError, OutputError

RUN = CliRunner()


def fail_with(error: BaseException) -> Callable[[], None]:
    def app() -> None:
        raise error

    return app


def test_help_lists_every_command_with_its_summary() -> None:
    shown = RUN.invoke(cli.app, ["--help"])
    assert shown.exit_code == 0
    for command in cli.COMMANDS:
        assert command.__name__.replace("_", "-") in shown.output
        assert command.__doc__, command.__name__


@pytest.mark.parametrize("command", [command.__name__.replace("_", "-") for command in cli.COMMANDS])
def test_every_command_explains_itself(command: str) -> None:
    shown = RUN.invoke(cli.app, [command, "--help"])
    assert shown.exit_code == 0
    assert "Usage" in shown.output


def test_help_loads_no_torch() -> None:
    probe = (
        "import sys\nfrom sdsr.cli.main import main\nsys.argv = ['sdsr', '--help']\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'numpy', 'scipy', 'PIL', 'huggingface_hub'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version() -> None:
    assert RUN.invoke(cli.app, ["--version"]).output == f"sdsr {sdsr.__version__}\n"


@pytest.mark.parametrize("error", [InputError("photo (=x.png) is missing; give one."), OutputError("disk full.")])
def test_an_error_is_one_line_and_exit_code_2(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", fail_with(error))
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    assert capsys.readouterr().err == f"sdsr: error: {error}\n"


def test_a_wrong_option_is_exit_code_2() -> None:
    assert RUN.invoke(cli.app, ["compare", "--no-such-option"]).exit_code == 2


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (typer.Exit(1), 1)])
def test_interruption_and_partial_failure_keep_their_exit_codes(error: BaseException, code: int) -> None:
    app = typer.Typer()
    app.command()(fail_with(error))
    assert RUN.invoke(app, []).exit_code == code


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", fail_with(ValueError("a bug")))
    with pytest.raises(ValueError, match="a bug"):
        cli.main()
