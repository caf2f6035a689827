"""`sdsr upscale` told which photos, how many, and to tell first what they take; refusals of what contradicts itself."""

import json
import re
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdsr.batch.estimate import Estimate
from sdsr.batch.outcome import KINDS, Outcome
from sdsr.cli import main as cli

DOCS = (Path(__file__).parents[2] / "docs" / "at-scale.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "in"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "sub/c.png"):
        pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str | Path
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["sdsr", "upscale", *map(str, words)])
    code = 0
    try:
        cli.main()
    except SystemExit as left:
        code = int(left.code or 0)
    return code, *capsys.readouterr()


def test_first_it_is_told_then_a_part_is_done(
    photos: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photos.parent / "out"
    command = (photos, "-o", out, "--model", model, "--json")
    code, told, _ = typed(monkeypatch, capsys, *command, "--dry-run", "--include", "*.PNG")
    assert (code, out.exists()) == (0, False)
    found = json.loads(told)
    assert (found["photos"], found["to_do"], found["unreadable"]) == (2, 2, 0)
    assert found["seconds"] > 0
    assert 0 < found["disk_bytes"] < found["free_bytes"]
    some = ("--limit", "1", "--exclude", "*.jpg", "--name", "{stem}-{seed}")
    code, told, _ = typed(monkeypatch, capsys, *command, *some)
    assert [Path(json.loads(line)["output"]).name for line in told.splitlines()] == ["a-0.png"]
    monkeypatch.setattr("sdsr.batch.estimate._free_bytes", lambda folder: 10)
    code, told, error = typed(monkeypatch, capsys, *command[:-1], "--dry-run")
    assert (code, "2 to do" in told, "3 to do" in told) == (2, False, True), "by other names nothing is done"
    assert "results need about" in error
    (photos / "z.png").write_text("no photo")
    code, told, error = typed(monkeypatch, capsys, photos / "z.png", "--model", model, "--dry-run")
    (photos / "z.png").unlink()
    assert "time:       unknown, as no photo could be probed\n" in told
    assert f"sdsr: error: {photos / 'z.png'} is no photo" in error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("IN", "--on-exists", "skip", "--overwrite"), "contradict"),
        (("IN", "--include", "*.gif"), "none of 3 photos"),
        (("IN", "--scale", "17"), "scale (=17) must be above 0 and at most 16; try 4."),
        (("https://example.org/a.jpg",), "https://example.org/a.jpg is a web address"),
        (("s3://bucket/in",), "results of s3://bucket/in need a place"),
        (("IN", "--name", "{step}"), "try {stem}"),
        (("-", "-o", "-", "--dry-run"), "--dry-run is for many photos"),
        (("-", "-o", "-", "--name", "{stem}"), "--name is for many photos"),
    ],
)
def test_what_contradicts_itself_is_refused(
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    says: str,
) -> None:
    code, _, error = typed(monkeypatch, capsys, *(photos if word == "IN" else word for word in words))
    assert code == 2
    assert says in error


def test_the_schema_of_lines_is_documented() -> None:
    documented = re.findall(r"^\| `(\w+)`", DOCS.partition("## Lines of JSON")[2].partition("\n## ")[0], re.MULTILINE)
    kinds = [*KINDS]
    assert documented == [field.name for field in fields(Outcome)] + kinds + [field.name for field in fields(Estimate)]
