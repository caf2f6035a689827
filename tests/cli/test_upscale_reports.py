"""`sdsr upscale` with --report, --passes, --mean, --consistent and --protect: pages beside results, also of folders."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import c2pa
import numpy as np
import pytest
from PIL import Image

from sdsr.cli import main as cli
from sdsr.methods import METHODS
from sdsr.models import find_model
from sdsr.region import Region
from sdsr.trust.expected_error import ExpectedError
from sdsr.trust.mask import Calibration
from sdsr.trust.stored import Trust, read_trust, write_trust
from sdsr.upscaling import Upscaler
from tests.signers import SignerFiles

Typed = Callable[..., tuple[int, str, str]]
TRUST = Trust(
    passes=2,
    expected=ExpectedError(weights=(0.7, 0.1, 0.1, 0.0)),
    calibrations=(Calibration(error=0.03, confidence=0.9, threshold=0.5, photos=20),),
    source="20 photos",
    photos_sha256="0" * 64,
    weights_sha256="0" * 64,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A method's folder that names the tiny prior, with a card and something promised."""
    folder, recipe = tmp_path_factory.mktemp("models") / "tiny-method", METHODS["d3sr-small"]
    assert recipe.method is not None
    Upscaler(recipe, recipe.method.build("tiny")).save_pretrained(folder)
    (folder / "README.md").write_text("# The card of a tiny method\n", encoding="utf-8")
    write_trust(replace(TRUST, weights_sha256=find_model(folder).weights_sha256), folder)
    return folder


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path) -> Typed:
    """Runs `sdsr upscale` in this process: exit code, standard output and error."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        words = ("sdsr", "upscale", "--model", model, "--scale", "2", *words)
        monkeypatch.setattr(sys, "argv", list(map(str, words)))
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
        return code, *capsys.readouterr()

    return run


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(90, 166, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def figures(result: Path) -> dict:
    return json.loads(result.with_name(f"{result.name}.report.json").read_text())


def test_one_photo_has_its_page_beside_its_result(typed: Typed, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png")
    code, out, _ = typed(photo, "--report", "--passes", "2")
    assert (code, out.splitlines()[-1]) == (0, f"{tmp_path / 'a_x2.png.report.html'}: how far to believe it")
    told = figures(tmp_path / "a_x2.png")
    assert told["settings"]["model"] == "d3sr-small"
    assert told["disagreement"]["passes"] == 2
    assert told["promises"][0]["unmasked_share"] == 1
    assert "The card of a tiny method" in (tmp_path / "a_x2.png.report.html").read_text()
    assert not (tmp_path / "report.html").exists(), "which is for folders"


@pytest.mark.parametrize("more", [("--consistent",), ("--protect", "1,2,5,6"), ("--mean",)])
def test_no_promise_of_a_result_that_is_not_the_models_own(typed: Typed, tmp_path: Path, more: tuple) -> None:
    photo = save(tmp_path / "a.png")
    assert typed(photo, "--report", "--passes", "2", *more)[0] == 0
    told = figures(tmp_path / "a_x2.png")
    assert "promises" not in told
    assert "this is another picture" in told["no_mask"]
    assert any("No mask is shown" in each for each in told["warnings"])
    assert told["settings"].keys() & {"consistent", "protected", "passes"}


def test_no_promise_of_other_weights_than_were_calibrated(typed: Typed, tmp_path: Path, model: Path) -> None:
    photo = save(tmp_path / "a.png")
    stored = read_trust(model)
    assert stored is not None
    try:
        write_trust(replace(stored, weights_sha256="1" * 64), model)
        assert typed(photo, "--report", "--passes", "2")[0] == 0
    finally:
        write_trust(stored, model)
    told = figures(tmp_path / "a_x2.png")
    assert "promises" not in told
    assert "calibrated with other weights" in told["no_mask"]


@pytest.mark.parametrize(("passes", "were"), [((), ""), (("--passes", "3"), ", and there were 3")])
def test_it_is_told_how_many_passes_a_mask_takes(typed: Typed, tmp_path: Path, passes: tuple, were: str) -> None:
    photo = save(tmp_path / "a.png")
    assert typed(photo, "--report", *passes)[0] == 0
    told = figures(tmp_path / "a_x2.png")
    assert told["no_mask"] == f"it takes the 2 passes that the model was calibrated with{were}; add --passes 2"
    assert told["no_mask"] in told["verdict"]


def test_a_folder_is_told_once_that_text_was_not_looked_for(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdsr.reports.report.can_find_text", lambda: False)
    for name in ("a.png", "b.png"):
        save(tmp_path / "in" / name)
    out = tmp_path / "out"
    assert typed(tmp_path / "in", "-o", out, "--report")[0] == 0
    assert (out / "report.html").read_text().count("Text was not looked for") == 1
    assert [row["text"] for row in json.loads((out / "report.json").read_text())] == [None, None]
    assert "Text was not looked for" in figures(out / "a.png")["warnings"][0]


def test_a_consistent_result_reads_back_as_one(typed: Typed, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png")
    for name, more in (("plain.png", ()), ("consistent.png", ("--consistent",))):
        assert typed(photo, "-o", tmp_path / name, "--report", *more)[0] == 0
    differences = [
        figures(tmp_path / name)["consistency"]["mean_difference"] for name in ("plain.png", "consistent.png")
    ]
    assert differences[1] < 0.5 < differences[0]


@pytest.mark.parametrize(
    ("count", "says"),
    [
        (0, "no text found, so none is protected"),
        (1, "text found in 1 place and protected"),
        (2, "text found in 2 places and protected"),
    ],
)
@pytest.mark.parametrize("passes", [(), ("--passes", "2", "--mean")])
def test_it_is_told_how_much_text_is_protected(
    typed: Typed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    count: int,
    says: str,
    passes: tuple,
) -> None:
    found = tuple(Region(top=1, left=1 + 4 * number, height=3, width=3) for number in range(count))
    monkeypatch.setattr("sdsr.trust.text.find_text", lambda photo: found)
    photo = save(tmp_path / "a.png")
    code, out, _ = typed(photo, "--protect", "text", *passes)
    assert code == 0
    assert says in out
    assert caplog.text.count("a.png: no text was found") == (count == 0)
    _, out, _ = typed(photo, "--protect", "text", *passes, "--overwrite", "--json")
    assert says in json.loads(out)["chosen"]


def test_a_place_that_is_named_is_no_text_that_was_looked_for(typed: Typed, tmp_path: Path) -> None:
    code, out, complaint = typed(save(tmp_path / "a.png"), "--protect", "1,2,5,6")
    assert (code, "text" in out + complaint) == (0, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kernel-width", "1.5"), "kernel width (=1.5) is what --consistent and --report compare by"),
        (("--kernel-width", "0.5", "--report"), "kernel width (=0.5) must be 1"),
    ],
)
def test_a_kernel_width_that_serves_nothing_is_told_of(typed: Typed, tmp_path: Path, words, said) -> None:
    code, _, complaint = typed(save(tmp_path / "a.png"), *words)
    assert (code, said in " ".join(complaint.split())) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_kernel_width_that_is_stated_is_told(typed: Typed, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png")
    assert typed(photo, "--report", "--kernel-width", "1.5")[0] == 0
    assert figures(tmp_path / "a_x2.png")["consistency"]["kernel_width"] == 1.5


def test_a_folder_has_a_page_over_all_pages(typed: Typed, tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "sub/b & c.png")):
        save(tmp_path / "in" / name, number)
    out = tmp_path / "out"
    code, said, _ = typed(tmp_path / "in", "-o", out, "--report")
    assert (code, f"{out / 'report.html'}: report of all" in said) == (0, True)
    rows = json.loads((out / "report.json").read_text())
    assert {row["page"] for row in rows} == {"a.png.report.html", "sub/b & c.png.report.html"}
    assert all((out / row["page"]).is_file() for row in rows)
    assert 'href="sub/b%20%26%20c.png.report.html"' in (out / "report.html").read_text()


@pytest.mark.parametrize("passes", [(), ("--passes", "2")])
def test_a_missing_page_is_made_later_and_no_result_again(typed: Typed, tmp_path: Path, passes: tuple) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / "in" / name)
    out = tmp_path / "out"
    assert typed(tmp_path / "in", "-o", out)[0] == 0
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert typed(tmp_path / "in", "-o", out, "--report", *passes)[0] == 0
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")} == before
    assert ("disagreement" in figures(out / "b.png")) == bool(passes)
    pages = {path: path.stat().st_mtime_ns for path in out.glob("*.png.report.html")}
    assert len(pages) == 2
    assert typed(tmp_path / "in", "-o", out, "--report", *passes)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in pages} == pages


def test_a_page_older_than_its_result_is_made_anew(typed: Typed, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    out = tmp_path / "out"
    page = out / "a.png.report.html"
    assert typed(tmp_path / "in", "-o", out, "--report")[0] == 0
    os.utime(page, (0, 0))
    assert typed(tmp_path / "in", "-o", out, "--report")[0] == 0
    assert page.stat().st_mtime > 0


def test_a_folder_is_signed_and_goes_on_signed(typed: Typed, tmp_path: Path, signer_files: SignerFiles) -> None:
    for name in ("a.png", "b.jpg"):
        save(tmp_path / "in" / name)
    signed = ("--sign", signer_files.certificate, signer_files.key)
    for said in ("x", "there already, complete"):
        code, out, _ = typed(tmp_path / "in", "-o", tmp_path / "out", *signed)
        assert (code, out.count(said) >= 2) == (0, True)
    for path in (tmp_path / "out" / "a.png", tmp_path / "out" / "b.jpg"):
        with c2pa.Reader(path) as reader:
            assert reader.get_validation_state() == "Valid"
            manifest = reader.get_active_manifest()
        assert manifest is not None
        assert manifest["ingredients"][0]["title"] == path.name
        assert manifest["claim_generator_info"][0]["name"] == "sdsr d3sr-small"
    code, out, _ = typed(tmp_path / "in", "-o", tmp_path / "out")
    assert (code, out.count("settings or weights changed") >= 2) == (0, True), "unsigned, they are other results"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--passes", "4"), "are made for --report, to see where they disagree, or --mean"),
        (("--passes", "1", "--report"), "passes (=1) must be in 2 ... 8"),
        (("--passes", "9", "--mean"), "passes (=9) must be in 2 ... 8"),
        (("--mean",), "--mean needs --passes"),
        (("-o", "-", "--report"), "--report can't stand beside -"),
        (("--protect", "1,2,3"), "protect (=1,2,3) must be LEFT,TOP,WIDTH,HEIGHT"),
        (("--protect", "1,2,30,4"), "within its photo of 16 x 12 px"),
        (("--sign", "no.pem", "no.pem"), "no.pem can't be read"),
        (("--report", "--scale", "0.5"), "must be at least as large as its photo (16 x 12 px) for --report"),
    ],
)
def test_what_can_not_be_is_refused(typed: Typed, tmp_path: Path, words: tuple, says: str) -> None:
    photo = save(tmp_path / "a.png")
    code, _, said = typed(photo, *words)
    assert code == 2
    assert says in said
    assert not list(tmp_path.glob("a_*"))
