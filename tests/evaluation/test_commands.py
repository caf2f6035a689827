import json

import numpy as np
import pytest
import typer
from PIL import Image as PillowImage
from typer.testing import CliRunner

from sdsr.cli.compare import compare
from sdsr.cli.degrade import degrade
from sdsr.cli.evaluate import evaluate
from sdsr.errors import InputError, OutputError


def run(command, *arguments) -> str:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_evaluate_prints_the_table_and_writes_what_is_asked(folders):
    files = [folders / name for name in ("a.csv", "a.md", "a.png")]
    options = ["--csv", files[0], "--markdown", files[1], "--sheet", files[2], "--anchors", folders / "LR"]
    output = run(evaluate, folders / "out", folders / "HR", *options)
    assert "Protocol realisr-y" in output
    assert "film grain" in files[1].read_text()
    assert len(files[0].read_text().splitlines()) == 4
    assert all(path.stat().st_size for path in files)
    with pytest.raises(OutputError, match="exists"):
        run(evaluate, folders / "out", folders / "HR", *options)


def test_evaluate_json_is_json_alone(folders):
    content = json.loads(run(evaluate, folders / "out", "--json"))
    assert set(content) >= {"protocol", "niqe", "grid", "n"}
    assert "psnr_y" not in content


def test_compare_writes_a_sheet(folders):
    target = folders / "sheet.png"
    run(compare, folders / "out", "--lq", folders / "LR", "--hr", folders / "HR", "-o", target, "--crop", "0,0,64")
    with PillowImage.open(target) as sheet:
        assert sheet.width == 3 * 264 + 8
    with pytest.raises(InputError, match="three whole numbers"):
        run(compare, folders / "out", "-o", folders / "b.png", "--crop", "a")


def test_degrade_writes_samples_and_one_lq_photo(folders):
    photo, sheet, lq = folders / "HR" / "Canon_000_HR.png", folders / "s.png", folders / "lq.png"
    output = run(degrade, photo, "--recipe", "d3sr", "-n", 3, "-o", sheet, "--save-lq", lq, "--size", 64)
    assert "3 samples" in output
    with PillowImage.open(sheet) as image:
        assert image.size == (2 * 264 + 8, 2 * 286 + 8)
    with PillowImage.open(lq) as image:
        assert image.size == (48, 48)
        first = np.asarray(image)
    run(degrade, photo, "--table", "d3sr", "--save-lq", lq, "--overwrite")
    with PillowImage.open(lq) as image:
        np.testing.assert_array_equal(np.asarray(image), first)


def test_degrade_refuses_contradictions(folders):
    photo = folders / "HR" / "Canon_000_HR.png"
    with pytest.raises(InputError, match="exclude"):
        run(degrade, photo, "--recipe", "d3sr", "--table", "photo", "-o", folders / "a.png")
    with pytest.raises(InputError, match="nothing to write"):
        run(degrade, photo)
