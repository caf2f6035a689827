"""`sdsr serve` before it listens."""

import subprocess
import sys
from pathlib import Path

import pytest

import sdsr.cli.serve as command
from sdsr.errors import InputError
from sdsr.web.serving import _alone, serve
from sdsr.web.settings import Settings


def test_without_the_extra_it_says_what_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(InputError, match=r"^serve needs uvicorn \(not installed\); run `pip install 'sdsr\[web\]'`\.$"):
        command.serve(folder=tmp_path)


def test_an_open_door_and_an_unknown_model_are_said_in_one_line(tmp_path: Path) -> None:
    for options, said in ((["--host", "0.0.0.0"], "takes a token"), (["--model", "nothing"], "must be one of")):
        line = [sys.executable, "-m", "sdsr", "serve", "--folder", str(tmp_path / "kept"), *options]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_folder_is_served_once(tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path / "kept", port=0)
    with _alone(settings.folder), pytest.raises(InputError, match=r"kept\) is another service's that runs"):
        serve(settings, on_listening=lambda address: None)
    with _alone(settings.folder):
        pass
