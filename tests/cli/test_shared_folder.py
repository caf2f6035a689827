"""One folder of results, several processes: shards, a process killed by -9, the manifest afterwards."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sdsr.batch.journal import NAME
from sdsr.cli.main import app

PHOTOS = 10


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for number in range(PHOTOS):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("sub" if number % 2 else "") / f"{number}.png")
    (folder / "broken.jpg").write_text("no photo")
    return folder


def upscale(tree: Path, out: Path, model: Path, *more: str) -> list[str]:
    return ["upscale", str(tree), "-o", str(out), "--model", str(model), "--scale", "4", *more]


def results(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")}


def differ(one: bytes, other: bytes) -> int:
    """The largest difference of two pictures, which may be of processes with other numbers of threads."""
    pixels = [np.asarray(Image.open(io.BytesIO(data))).astype(int) for data in (one, other)]
    return int(np.abs(pixels[0] - pixels[1]).max())


def notes(out: Path) -> Counter[tuple[str, str]]:
    """How often each result was begun, and noted as done (again where it was found done by its sha256)."""
    lines = map(json.loads, (out / NAME).read_bytes().splitlines())
    return Counter((line["output"], line["status"]) for line in lines if "output" in line)


@pytest.fixture
def undisturbed(tree: Path, tmp_path: Path, model: Path) -> dict[str, bytes]:
    shown = CliRunner().invoke(app, upscale(tree, tmp_path / "undisturbed", model, "-q"))
    assert shown.exit_code == 1, "the broken one"
    found = results(tmp_path / "undisturbed")
    assert len(found) == PHOTOS
    return found


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_what_a_killed_process_left_another_does(
    tree: Path, tmp_path: Path, model: Path, undisturbed: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sdsr", *upscale(tree, out, model, "-q")]
    heard = subprocess.DEVNULL, subprocess.PIPE
    both = [subprocess.Popen(command, stderr=stderr, text=True) for stderr in heard]
    try:
        deadline = time.monotonic() + 120
        while not list(out.rglob("*.png")) and time.monotonic() < deadline:
            time.sleep(0.005)
        both[0].send_signal(signal.SIGKILL)
        both[0].wait(60)
        _, said = both[1].communicate(timeout=240)
    finally:
        for process in both:
            process.kill()
    assert both[1].returncode == 1
    assert "broken.jpg" in said
    assert results(out).keys() == undisturbed.keys()
    assert all(differ(data, undisturbed[name]) <= 1 for name, data in results(out).items())
    assert not [path.name for path in out.rglob("*.part")]
    found = notes(out)
    assert all(found[name, "done"] for name in undisturbed)
    begun = sum(found[name, "begun"] for name in undisturbed)
    assert begun in (PHOTOS, PHOTOS + 1), "only what was cut off is done twice"
    again = CliRunner().invoke(app, upscale(tree, out, model, "-q"))
    assert again.exit_code == 1
    assert results(out).keys() == undisturbed.keys()
    assert not (out / ".sdsr-claims").exists()


def test_shards_make_the_whole_and_are_merged(
    tree: Path, tmp_path: Path, model: Path, undisturbed: dict[str, bytes]
) -> None:
    parts = [tmp_path / f"part{number}" for number in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        shown = CliRunner().invoke(app, upscale(tree, part, model, "--shard", f"{number}/3"))
        assert f"shard {number}/3: " in shown.stderr
        assert "of 11 photos" in shown.stderr
    assert sum(len(results(part)) for part in parts) == PHOTOS
    assert all(results(part) for part in parts)
    out = tmp_path / "out"
    merged = CliRunner().invoke(app, ["manifest", "merge", str(out), *map(str, parts)], catch_exceptions=False)
    assert (merged.exit_code, merged.output) == (0, f"{PHOTOS} taken\n")
    assert results(out) == undisturbed
    verified = CliRunner().invoke(app, ["manifest", "verify", str(out)])
    assert (verified.exit_code, verified.output) == (0, f"{PHOTOS} whole\n")
    again = CliRunner().invoke(app, upscale(tree, out, model, "--json"))
    assert Counter(json.loads(line)["status"] for line in again.stdout.splitlines()) == {"skipped": PHOTOS, "failed": 1}


def test_the_manifest_is_told_and_held_against_the_results(tree: Path, tmp_path: Path, model: Path) -> None:
    out = tmp_path / "out"
    CliRunner().invoke(app, upscale(tree, out, model, "-q", "--shard", "1/3"))
    made = sorted(results(out))
    (out / made[0]).unlink()
    (out / made[1]).write_bytes(b"damage")
    told = CliRunner().invoke(app, ["manifest", "status", str(out), "--json"])
    expected = {"done": len(made) - 1, "missing": 1, "interrupted": 0, "in_work": 0, "unnoted": 0}
    assert json.loads(told.output) == expected
    assert "missing" in CliRunner().invoke(app, ["manifest", "status", str(out)]).output
    verified = CliRunner().invoke(app, ["manifest", "verify", str(out)])
    assert verified.exit_code == 1
    assert f"{made[0]}: missing" in verified.output
    assert f"{made[1]}: changed" in verified.output
