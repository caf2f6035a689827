"""A folder whose results are all there: found finished without torch, in the time that reading their names takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdsr.cli import main as cli
from sdsr.methods import METHODS
from sdsr.upscaling import Upscaler

PHOTOS = 3
PROBE = """
import sys
from sdsr.cli.main import main
code = 0
try:
    main()
except SystemExit as left:
    code = left.code
heavy = {"torch", "numpy", "PIL", "tifffile", "imagecodecs", "diffusers"} & sys.modules.keys()
print(*sorted(heavy), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos/, its results in out/, and the method that made them in method/."""
    root, recipe = tmp_path_factory.mktemp("finished"), METHODS["d3sr-small"]
    assert recipe.method is not None
    Upscaler(recipe, recipe.method.build("tiny")).save_pretrained(root / "method")
    (root / "photos" / "sub").mkdir(parents=True)
    for index in range(PHOTOS):
        pixels = np.random.default_rng(index).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "photos" / ("sub" if index else "") / f"{index}.png")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", command(root)[1:])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert not left.value.code
    return root


def command(root: Path, *more: str) -> list[str]:
    options = ("-o", str(root / "out"), "--model", str(root / "method"), "--json", *more)
    return ["-", "sdsr", "upscale", str(root / "photos"), *options]


def typed(root: Path, *more: str) -> tuple[list[dict], list[str], int]:
    """Return the lines of JSON, the heavy modules that were loaded, and the exit code of a fresh process."""
    call = [sys.executable, "-c", PROBE, *command(root, *more)[2:]]
    done = subprocess.run(call, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr.split(), done.returncode


def test_a_finished_folder_loads_nothing(finished: Path) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (finished / "out").rglob("*.png"))
    lines, heavy, code = typed(finished)
    assert [line["status"] for line in lines] == ["skipped"] * PHOTOS
    assert (heavy, code) == ([], 0)
    assert {line["model"] for line in lines} == {"d3sr-small"}
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in (finished / "out").rglob("*.png"))


def test_a_broken_photo_among_finished_ones_loads_no_torch(finished: Path) -> None:
    broken = finished / "photos" / "broken.jpg"
    broken.write_text("no photo")
    try:
        lines, heavy, code = typed(finished)
    finally:
        broken.unlink()
    assert [line["status"] for line in lines] == ["skipped", "failed", *["skipped"] * (PHOTOS - 1)]
    assert code == 1
    assert not {"torch", "diffusers"} & set(heavy)


def test_other_weights_in_the_same_folder_are_other_work(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    description = finished / "method" / "method.json"
    kept = description.read_text()
    noted = json.loads(kept)
    noted["files"] = {name: digest[::-1] for name, digest in noted["files"].items()}
    description.write_text(json.dumps(noted))
    try:
        monkeypatch.setattr(sys, "argv", command(finished)[1:])  # which loads torch anyway, so here
        with pytest.raises(SystemExit) as left:
            cli.main()
    finally:
        description.write_text(kept)
    assert (capsys.readouterr().out, left.value.code) == ("", 2), (
        "nothing is taken for finished, and weights that don't fit aren't loaded"
    )
