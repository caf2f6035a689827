"""Whatever a photo is called, its batch goes on, and what is printed fits every terminal and pipe."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdsr.cli.printing import LineFormatter, echo_json, echo_line, one_line, print_any_name

ODD = ("山.png", "\udcff.png", "a\nb\x1b]0;c\x07.png", "💥é.png", "\u202egnp.x.png")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8", "utf-16", "latin-1"])
def test_any_name_is_printed_in_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    print_any_name()
    for name in ODD:
        echo_line(f"{name}: 64x48")
        echo_json({"output": name})
    stream.flush()
    stream.seek(0)
    lines = stream.read().splitlines()
    assert len(lines) == 2 * len(ODD)
    assert [json.loads(line)["output"] for line in lines[1::2]] == list(ODD)


def test_json_is_readable_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    echo_json("山")
    stream.seek(0)
    assert stream.read() == '"山"\n'


def test_a_message_is_one_line() -> None:
    assert one_line("schön 山💥\u200d") == "schön 山💥\u200d"
    assert one_line("a\nb\r\x85\u2028\u202e\u2066\x1b") == r"a\nb\r\x85\u2028\u202e\u2066\x1b"
    record = logging.LogRecord("sdsr", logging.WARNING, "", 0, "%s is odd", ("a\nb",), None)
    assert LineFormatter("%(levelname)s: %(message)s").format(record) == r"WARNING: a\nb is odd"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_errors_about_any_name_are_one_line_each(tmp_path: Path, encoding: str) -> None:
    for name in (*ODD, "x" * 251 + ".png"):
        (tmp_path / name).write_text("no photo")
    photos = [*map(str, tmp_path.iterdir()), "y" * 300]
    command = [sys.executable, "-m", "sdsr", "upscale", *photos]
    environment = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict", "PYTHONUTF8": "0", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    lines = done.stderr.decode(encoding).splitlines()
    assert (done.returncode, len(lines)) == (2, len(ODD) + 2), done.stderr
    assert all(line.startswith("sdsr: error: ") and ": " in line for line in lines)
