"""`sdsr doctor`: complete, honest about what is missing, and never broken by it."""

import hashlib
import json
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import imagecodecs
import pytest
import typer
from typer.testing import CliRunner

import sdsr
from sdsr.cli import doctor as command
from sdsr.photos.formats import FORMATS
from sdsr.prior import sources

ROOT = Path(__file__).parents[2]
RUN = CliRunner()
APP = typer.Typer()
APP.command()(command.doctor)


@pytest.fixture(autouse=True)
def no_published_models(monkeypatch):
    monkeypatch.setattr(sources, "locate", lambda source: None)


def test_each_extra_and_the_core_are_those_of_the_project_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = project["optional-dependencies"]
    assert set(command.FEATURES) == set(listed) - {"dev"}
    assert all(any(line.startswith(name) for line in project["dependencies"]) for name in command.CORE)
    assert tuple(line.partition(">")[0] for line in listed["methods"]) == command.METHODS
    assert "sdsr[methods]" not in listed["web"], "its default restores without torch"


def test_json_has_versions_devices_models_and_extras(monkeypatch, tmp_path):
    weights = tmp_path / "small-prior" / "unet.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    monkeypatch.setattr(command, "ASSETS", tmp_path)
    facts = json.loads(RUN.invoke(APP, ["--json"]).output)
    assert facts["versions"]["sdsr"] == sdsr.__version__
    assert facts["versions"]["torch"] == metadata.version("torch")
    assert facts["devices"][0]["device"] == "cpu"
    assert 0 < facts["devices"][0]["free_bytes"] < facts["devices"][0]["total_bytes"]
    assert sum(device["default"] for device in facts["devices"]) == 1
    assert facts["embedded"] == [
        {"file": "small-prior/unet.safetensors", "bytes": 7, "sha256": hashlib.sha256(b"weights").hexdigest()}
    ]
    assert {model["name"] for model in facts["published"]} == set(sources.SOURCES)
    assert {each.name for each in FORMATS.values()} < {*facts["formats"]}, "and profiles"
    assert all(facts["formats"].values())
    assert set(facts["extras"]) == set(command.FEATURES)
    assert "torch" in {line.partition(">")[0] for line in facts["extras"]["methods"]["requires"]}
    assert facts["extras"]["train"]["requires"][0] == "sdsr[methods]"


def test_what_is_missing_is_said_with_the_remedy_and_breaks_nothing(monkeypatch, tmp_path):
    installed = metadata.version

    def version(name):
        if name in ("tensorboard", "uvicorn", "peft", "onnx", "onnxscript"):
            raise metadata.PackageNotFoundError(name)
        return "0.100.0" if name == "fastapi" else installed(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(command, "ASSETS", tmp_path)
    monkeypatch.setattr(imagecodecs, "JPEGXL", SimpleNamespace(available=False))
    monkeypatch.setenv("COLUMNS", "260")
    result = RUN.invoke(APP, [])
    assert result.exit_code == 0, result.exception
    assert "extra methods is incomplete, tensorboard is missing: pip install 'sdsr[train]'" in result.output
    assert "fastapi 0.100.0 is not >=0.165, uvicorn is missing: pip install 'sdsr[web]'" in result.output
    assert "extra methods is incomplete, onnx, onnxscript are missing: pip install 'sdsr[export]'" in result.output
    assert "reinstall sdsr" in result.output
    (line,) = (line for line in result.output.splitlines() if line.startswith("JPEG XL"))
    assert line.split(maxsplit=2)[2].strip() == "no: reinstall pillow and imagecodecs"
    assert "not here" in result.output


def test_sources_that_are_not_installed_are_told_and_break_nothing(monkeypatch):
    installed = metadata.version

    def version(name):
        if name == "sdsr":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setenv("COLUMNS", "260")
    result = RUN.invoke(APP, [])
    assert result.exit_code == 0, result.exception
    line = "what it requires isn't known, as sdsr runs without being installed: pip install 'sdsr[web]'"
    assert line in result.output
