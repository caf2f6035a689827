import json
import shutil

import numpy as np
import pytest
import typer
from PIL import Image as PillowImage
from typer.testing import CliRunner

from sdsr.cli.compare import compare
from sdsr.cli.degrade import degrade
from sdsr.cli.evaluate import evaluate
from sdsr.cli.study.curves import curves
from sdsr.cli.study.similarity import similarity
from sdsr.errors import InputError, OutputError
from sdsr.metrics import clip


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


def test_evaluate_ranks_several_folders_and_measures_clip(folders):
    shutil.copytree(folders / "HR", folders / "best")
    paths = [folders / "out", folders / "best", folders / "HR"]
    content = json.loads(run(evaluate, *paths, "--clip", "small", "--anchors", folders / "LR", "--json"))
    assert content["mean_ranks"]["best"] < content["mean_ranks"]["out"]
    assert sum(content["mean_ranks"].values()) == pytest.approx(3)
    out, bicubic = content["results"]["out"], content["anchors"]["bicubic"]
    gain = out["clip_i_small"] - bicubic["clip_i_small"]
    assert out["delta_clip_i_small"] == pytest.approx(gain)
    table = run(evaluate, folders / "out", folders / "best", "--alone")
    assert "mean rank" in table
    assert "psnr_y" not in table
    with pytest.raises(InputError, match="--clip"):
        run(evaluate, folders / "out", "--clip", "small")
    with pytest.raises(InputError, match="twice"):
        run(evaluate, folders / "out", folders / "out", folders / "HR")


def test_curves_measures_and_plots(folders):
    target = folders / "curves"
    command = [curves, "d3sr-small", folders / "HR", "--lq", folders / "LR", "--photos", 1, "--seeds", 2, "-o", target]
    output = run(*command, "--labels", "mine")
    assert "| mine  | 99 |" in output
    assert {path.name for path in target.iterdir()} == {"rows.csv", "curves.csv", "curves.png"}
    rows = (target / "rows.csv").read_text()
    assert len(rows.splitlines()) == 1 + 2
    run(*command, "--labels", "mine")
    assert (target / "rows.csv").read_text() == rows
    with pytest.raises(InputError, match="labels"):
        run(*command, "--labels", "a,b")
    with pytest.raises(InputError, match="--crop"):
        run(*command, "--crop", 64)


def test_similarity_compares_versions_with_texts(folders, monkeypatch):
    seen = {}

    def similarities(photos, texts, towers):
        seen.update(photos)
        return {label: tuple(float(len(text)) for text in texts) for label in photos}

    monkeypatch.setattr(clip, "load_clip", lambda folder: None)
    monkeypatch.setattr(clip, "similarities", similarities)
    photo = folders / "HR" / "Canon_000_HR.png"
    options = ["--text", "a bird", "--text", "a dog", "--clip", folders, "--degraded", "photo"]
    output = run(similarity, photo, *options, "--restored", "d3sr-small")
    assert "| restored by d3sr-small | 6.0000 | 5.0000 |" in output
    assert list(seen) == ["Canon_000_HR", "degraded by photo", "restored by d3sr-small"]
    assert {pixels.shape for pixels in seen.values()} == {(192, 192, 3)}
    content = json.loads(run(similarity, photo, *options, "--json"))
    assert content["photos"]["degraded by photo"] == [6, 5]
    with pytest.raises(InputError, match="--degraded"):
        run(similarity, photo, "--text", "a", "--clip", folders, "--restored", "d3sr-small")
