"""The frame of the command line: help is light, errors are one line, exit codes say what happened."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

import sdsr
from sdsr.cli import main as cli
from sdsr.cli.table import ALIASES, COMMANDS, MANIFEST, NEED_METHODS, STUDIES, command_of, load_command
from sdsr.errors import InputError, OutputError

RUN = CliRunner()


def fail_with(error: BaseException) -> Callable[[], None]:
    def app() -> None:
        raise error

    return app


def sentences(text: str) -> str:
    """Text without its line ends, and the borders of help."""
    return " ".join(text.replace("│", " ").split())


GROUPS = {"manifest": MANIFEST, "study": STUDIES}
TYPED = [*COMMANDS, *(f"{group} {name}" for group, table in GROUPS.items() for name in table)]


@pytest.mark.parametrize(
    ("words", "names"), [((), [*COMMANDS, *GROUPS]), *(((group,), table) for group, table in GROUPS.items())]
)
def test_help_lists_every_command(words: tuple[str, ...], names: list[str]) -> None:
    shown = RUN.invoke(cli.app, [*words, "--help"])
    assert shown.exit_code == 0
    listed = [line.split()[1] for line in shown.output.splitlines() if line.startswith("│ ") and line[2] != " "]
    assert sorted(name for name in listed if not name.startswith("-")) == sorted(names)


def test_help_tells_what_needs_torch() -> None:
    _, _, below = RUN.invoke(cli.app, ["--help"]).output.partition("need torch: pip install 'sdsr[methods]'")
    listed = [line.split()[1] for line in below.splitlines() if line.startswith("│ ") and line[2] != " "]
    assert listed == [*NEED_METHODS, "study"]


@pytest.mark.parametrize("words", TYPED)
def test_every_command_explains_itself_as_the_list_does(words: str) -> None:
    shown = RUN.invoke(cli.app, [*words.split(), "--help"])
    assert shown.exit_code == 0
    assert "Usage" in shown.output
    group, _, name = words.rpartition(" ")
    summary = GROUPS.get(group, COMMANDS)[name]
    doc = load_command(*command_of(words)).help
    assert doc is not None
    assert sentences(doc.partition("\n\n")[0]) == summary
    assert "\n" not in doc.replace("\n\n", ""), "lines end where the terminal does"


@pytest.mark.parametrize("words", TYPED)
def test_no_word_of_help_is_taken_for_markup(words: str) -> None:
    command = load_command(*command_of(words))
    for told in [command.help, *(getattr(parameter, "help", None) for parameter in command.params)]:
        assert told is None or Text.from_markup(told).plain == told.replace("\\[", "[")


def test_what_most_people_need_of_upscale_is_shown_first() -> None:
    panels: dict[str | None, list[str]] = {}
    for parameter in load_command(*command_of("upscale")).params:
        panels.setdefault(getattr(parameter, "rich_help_panel", None), []).append(parameter.name or "")
    assert [*panels] == [None, "Folders and resuming", "Trust and labels", "Speed and memory", "Expert"]
    assert {"photos", "output", "scale", "model", "fidelity"} <= {*panels[None]}
    assert max(map(len, panels.values())) <= 12
    shown = RUN.invoke(cli.app, ["upscale", "--help"], env={"COLUMNS": "80"})
    assert "…" not in shown.output, "names are whole in 80 columns"


@pytest.mark.parametrize("name", ALIASES)
def test_other_names_answer(name: str) -> None:
    shown = RUN.invoke(cli.app, [name, "--help"])
    assert shown.exit_code == 0
    words = ALIASES[name]
    assert words in TYPED
    assert shown.stderr == ""
    new = RUN.invoke(cli.app, [*words.split(), "--help"])
    assert sentences(shown.stdout).replace(f"sdsr {name} ", f"sdsr {words} ") == sentences(new.stdout)


def test_help_loads_no_torch() -> None:
    """The lists' loads neither NumPy nor Pillow; no command's own loads torch."""
    probe = (
        "import sys\nfrom sdsr.cli.main import main\n"
        "def helped(words):\n"
        "    sys.argv = ['sdsr', *words.split(), '--help']\n"
        "    try:\n        main()\n    except SystemExit as done:\n        assert not done.code\n"
        "def loaded(*names):\n    assert not {*names} & set(sys.modules), {*names} & set(sys.modules)\n"
        "for words in ('', 'study'):\n    helped(words)\n"
        "loaded('torch', 'diffusers', 'transformers', 'numpy', 'scipy', 'PIL', 'huggingface_hub')\n"
        f"for words in {TYPED}:\n    helped(words)\n    loaded('torch', 'diffusers', 'transformers')\n"
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
