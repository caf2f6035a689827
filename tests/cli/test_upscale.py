"""`sdsr upscale`, `methods` and `export` as they are typed, on a method with the tiny prior."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from sdsr.batch.journal import NAME
from sdsr.checkpoints.weights import fill_restorer
from sdsr.cli import main as cli
from sdsr.job import Job
from sdsr.methods import METHODS


class Shown(NamedTuple):
    code: int
    out: str
    err: str


Typed = Callable[..., Shown]
PHOTOS = 6  # of a folder that Ctrl-C ends after the first


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs a command line in this process."""

    def run(*words: str | Path) -> Shown:
        monkeypatch.setattr(sys, "argv", ["sdsr", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
        return Shown(code, *capsys.readouterr())

    return run


def save(path: Path, size: tuple[int, int] = (16, 12), mode: str = "RGB") -> Path:
    shape = (size[1], size[0], len(mode))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def assert_one_line_error(shown: Shown, *, says: str) -> None:
    assert (shown.code, shown.out) == (2, "")
    (line,) = shown.err.splitlines()
    assert line.startswith("sdsr: error: ")
    assert says in line


def test_one_photo_beside_itself(typed: Typed, model: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "schöne photo.jpg")
    shown = typed("upscale", photo, "--model", model)
    assert (shown.code, shown.err) == (0, "")
    with Image.open(tmp_path / "schöne photo_x4.jpg") as result:
        assert (result.format, result.size) == ("JPEG", (64, 48))
    assert_one_line_error(typed("upscale", photo, "--model", model), says="exists already")
    assert typed("upscale", photo, "--model", model, "--overwrite", "--quiet") == Shown(0, "", "")


def test_the_seed_is_fixed_and_the_size_is_what_was_asked(typed: Typed, model: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", mode="RGBA")
    for name in ("1.png", "2.png"):
        assert typed("upscale", photo, "-o", tmp_path / name, "--model", model, "--width", "50").code == 0
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    with Image.open(tmp_path / "1.png") as result:
        assert (result.mode, result.size) == ("RGBA", (50, 38))
    assert_one_line_error(
        typed("upscale", photo, "--model", model, "--format", "jpeg"), says="transparency, which JPEG can't hold"
    )


def test_a_seed_that_changes_nothing_is_told_of(typed: Typed, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png")
    command = ("upscale", photo, "--scale", "1")
    for seed in (1, 2):
        shown = typed(*command, "-o", tmp_path / f"{seed}.png", "--seed", seed)
        told = f"sdsr: warning: seed (={seed}) changes nothing: d3sr-small draws no noise, and its pixels are the same"
        assert (shown.code, shown.err) == (0, f"{told} for each seed.\n")
    with Image.open(tmp_path / "1.png") as one, Image.open(tmp_path / "2.png") as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))
    assert typed(*command, "-o", tmp_path / "3.png", "--seed", "1", "--quiet") == Shown(0, "", "")
    assert typed(*command, "-o", tmp_path / "4.png").err == ""


def test_a_folder_in_json_lines_and_again(typed: Typed, model: Path, tmp_path: Path) -> None:
    tree = tmp_path / "in"
    for name in ("a.png", "sub/b.webp"):
        save(tree / name)
    (tree / "bad.jpg").write_text("no photo")
    command = ("upscale", tree, "-o", tmp_path / "out", "--model", model, "--scale", "2", "--json")
    first, second = typed(*command), typed(*command)
    assert (first.code, first.err) == (1, "")
    lines = [json.loads(line) for line in first.out.splitlines()]
    assert [line["status"] for line in lines] == ["done", "failed", "done"]
    assert lines[0] | {"seconds": 0} == {
        "input": str(tree / "a.png"),
        "output": str(tmp_path / "out" / "a.png"),
        "status": "done",
        "size": [32, 24],
        "seconds": 0,
        "model": "d3sr-small",
        "seed": 0,
        "chosen": None,
        "again": None,
        "kind": None,
        "error": None,
        "labeled": False,
    }
    assert "bad.jpg is no photo" in lines[1]["error"]
    assert [json.loads(line)["status"] for line in second.out.splitlines()] == ["skipped", "failed", "skipped"]
    assert names(tmp_path / "out") == {"a.png", "sub", "sub/b.webp", NAME}
    told = typed(*command[:-1])
    assert f"sdsr: error: {tree / 'bad.jpg'} is no photo" in told.err
    assert ["skipped", "2", "0.0", "0.0"] in [line.split() for line in told.out.splitlines()]


def test_a_folder_with_results_of_before_among_its_photos(typed: Typed, model: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "in" / "a.jpg")
    assert typed("upscale", photo, "--model", model).code == 0
    command = ("upscale", tmp_path / "in", "--model", model, "--scale", "2")
    shown = typed(*command)
    assert shown.code == 0
    assert shown.err == (
        "sdsr: 1 photo was restored before, as its label says, and is skipped; --labeled restores it, too.\n"
    )
    assert "a_x4.jpg" not in shown.out
    assert names(tmp_path / "in_x2") == {"a.jpg", NAME}
    assert typed(*command, "--quiet") == Shown(0, "", "")
    told = [json.loads(line) for line in typed(*command, "--json").out.splitlines()]
    assert [(line["status"], line["labeled"]) for line in told] == [("skipped", False), ("skipped", True)]
    assert "labeled:    1" in typed(*command, "--dry-run").out
    photo.unlink()
    alone = typed(*command)
    assert (alone.code, alone.out, alone.err) == (0, "", shown.err), "a folder with nothing else in it"
    assert typed(*command, "--labeled").code == 0
    assert names(tmp_path / "in_x2") == {"a.jpg", "a_x4.jpg", NAME}


def test_standard_input_to_standard_output(
    typed: Typed, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, received = save(tmp_path / "a.webp").read_bytes(), io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    monkeypatch.setattr(sys, "stdout", received)
    assert typed("upscale", "-", "-o", "-", "--model", model, "--format", "png").code == 0
    received.buffer.seek(0)
    with Image.open(received.buffer) as result:
        assert (result.format, result.size) == ("PNG", (64, 48))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
def test_a_pipe_is_read_once_like_standard_input(typed: Typed, model: Path, tmp_path: Path) -> None:
    photo, pipe = save(tmp_path / "a.png"), tmp_path / "pipe.png"
    assert typed("upscale", photo, "--model", model).code == 0
    os.mkfifo(pipe)
    for name in ("1.png", "2.png"):
        with subprocess.Popen(["cp", str(photo), str(pipe)]) as writer:
            shown = typed("upscale", pipe, "-o", tmp_path / name, "--model", model)
        assert (shown, writer.returncode) == (Shown(0, "", ""), 0)
        assert (tmp_path / name).read_bytes() == (tmp_path / "a_x4.png").read_bytes()
    assert_one_line_error(typed("upscale", pipe, photo, "-o", tmp_path / "o"), says="stands for one photo")
    before = names(tmp_path)
    assert_one_line_error(typed("upscale", photo, "-o", tmp_path / "o.gif"), says="would be a GIF, which isn't written")
    assert names(tmp_path) == before


def test_a_photo_cut_short_anywhere_is_refused(typed: Typed, model: Path, tmp_path: Path) -> None:
    whole = {name: save(tmp_path / f"whole.{name}", (40, 30)).read_bytes() for name in ("jpg", "png")}
    for name, data in whole.items():
        for percent in range(100):
            folder = tmp_path / "cut"
            folder.mkdir(exist_ok=True)
            (folder / f"{percent}.{name}").write_bytes(data[: len(data) * percent // 100])
    shown = typed("upscale", tmp_path / "cut", "--model", model, "--json")
    outcomes = [json.loads(line) for line in shown.out.splitlines()]
    assert shown.code == 2
    assert len(outcomes) == 200
    assert {outcome["status"] for outcome in outcomes} == {"failed"}
    assert all("\n" not in outcome["error"] and ";" in outcome["error"] for outcome in outcomes)
    assert not (tmp_path / "cut_x4").exists()


def test_bad_input_is_one_line_and_leaves_nothing(typed: Typed, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    header = bytearray(save(tmp_path / "bomb.png").read_bytes())
    header[16:24] = (60000).to_bytes(4, "big") * 2
    (tmp_path / "bomb.png").write_bytes(header)
    before = names(tmp_path)
    for name, says in {
        "empty.jpg": "is empty",
        "text.jpg": "no photo in a known format",
        "bomb.png": "bomb.png",
        "missing.jpg": "can't be read (No such file or directory)",
    }.items():
        assert_one_line_error(typed("upscale", tmp_path / name, "--model", model), says=says)
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--scale", "0"), "scale (=0"),
        (("--scale", "2", "--width", "10"), "width"),
        (("--steps", "7"), "steps (=7)"),
        (("-o", "-", "--json"), "--json"),
        (("--memory", "much"), "memory (=much)"),
        (("--memory", "64MB"), "--memory"),
        (("--device", "abacus"), "device (=abacus)"),
        (("--device", "cpu", "--offload", "model"), "offload (=model)"),
        (("--width", "200", "--height", "12"), "height"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(
    typed: Typed, model: Path, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    photo = save(tmp_path / "a.png")
    assert_one_line_error(typed("upscale", photo, "--model", model, *options), says=says)
    assert names(tmp_path) == {"a.png"}


def test_a_full_disk_and_a_read_only_folder(
    typed: Typed, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = save(tmp_path / "a.png")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        assert_one_line_error(typed("upscale", photo, "--model", model), says="free some space")
    with monkeypatch.context() as broken:
        broken.setattr(os, "access", lambda path, mode: False)  # as root, permissions stop nobody
        assert_one_line_error(typed("upscale", photo, "--model", model), says="a folder you may write to")
    assert names(tmp_path) == {"a.png"}


def test_weights_that_are_missing_broken_or_unknown(typed: Typed, model: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png")
    assert_one_line_error(typed("upscale", photo, "--model", "d3sr-tiny"), says="model (=d3sr-tiny) must be one of")
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in model.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    tensors = load_file(broken / "decoder.safetensors")
    save_file(
        {name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items()}, broken / "decoder.safetensors"
    )
    assert_one_line_error(typed("upscale", photo, "--model", broken), says="NaN")
    (broken / "decoder.safetensors").unlink()
    assert_one_line_error(typed("upscale", photo, "--model", broken), says="are missing")
    (broken / "method.json").unlink()
    assert_one_line_error(typed("upscale", photo, "--model", broken), says="no method.json")
    assert names(tmp_path) == {"a.png", "broken", "broken/unet.safetensors"}


def test_a_request_to_end_is_obeyed_like_ctrl_c(
    typed: Typed, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, handler = save(tmp_path / "a.png"), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Job, "run", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    shown = typed("upscale", photo, "--model", model)
    assert shown.code == 130
    assert "nothing is half-written" in shown.err
    assert names(tmp_path) == {"a.png"}
    assert signal.getsignal(signal.SIGTERM) is handler


def test_ctrl_c_in_a_folder_and_the_rest_later(typed: Typed, tmp_path: Path) -> None:
    for number in range(PHOTOS):
        save(tmp_path / "in" / f"{number:02}.png", (48, 36))
    command = ["upscale", str(tmp_path / "in"), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sdsr", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored, where tests run in the background
    )
    assert process.stdout is not None
    done = [process.stdout.readline()]
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=300)
    done += rest.splitlines()
    assert process.returncode == 130, err
    assert 1 <= len(done) < PHOTOS
    left = names(tmp_path / "in_x4") - {NAME}
    assert len(left) in (len(done), len(done) + 1)
    assert all(name.endswith(".png") and not name.startswith(".") for name in left)
    later = [json.loads(line)["status"] for line in typed(*command).out.splitlines()]
    assert later == ["skipped"] * len(left) + ["done"] * (PHOTOS - len(left))


def test_models_says_what_is_here(typed: Typed) -> None:
    shown = typed("models", "--json")
    rows = {row["name"]: row for row in json.loads(shown.out)}
    assert METHODS.keys() <= rows.keys()
    assert (rows["d3sr-small"]["steps"], rows["d3sr-small"]["paper"]) == (1, "arXiv:2410.04224")
    assert not rows["small-prior"]["restores"]
    lean = [name for name, row in rows.items() if row["extra"] is None]
    assert lean == ["d3sr-small"]
    told = " ".join(typed("models").out.split())
    assert all(name in told for name in rows)
    assert "d3sr-small restores without torch; all others need it: pip install 'sdsr[methods]'." in told


def test_export_of_a_run_restores(typed: Typed, model: Path, tmp_path: Path) -> None:
    recipe, parts = METHODS["d3sr-small"], tmp_path / "parts"
    assert recipe.method is not None
    parts.mkdir()
    noted = {"recipe": "d3sr-small", "prior": "tiny", "step": "3", "stage": "<function f>"}
    restorer = recipe.method.build("tiny")
    fill_restorer(restorer, model)
    for name, module in restorer.parts.modules.items():
        save_file(
            {key: value.contiguous() for key, value in module.state_dict().items()},
            parts / f"{name}.safetensors",
            noted,
        )
    exported = tmp_path / "exported"
    assert typed("export", "d3sr-small", "--parts", parts, "--to", exported).code == 0
    assert names(exported) == {"method.json", "unet.safetensors", "decoder.safetensors"}
    description = json.loads((exported / "method.json").read_text())
    assert (description["prior"], description["step"], description["stage"]) == ("tiny", "3", "<function f>")
    assert load_file(exported / "unet.safetensors")["conv_in.weight"].dtype == torch.float16
    photo = save(tmp_path / "a.png")
    assert typed("upscale", photo, "--model", exported).code == 0
    assert typed("upscale", photo, "--model", model, "-o", tmp_path / "b.png").code == 0
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a_x4.png").read_bytes()
    again = ("export", "d3sr-small", "--parts", parts, "--to", exported)
    eight = ("export", "d3sr-small", "--parts", parts, "--to", tmp_path / "eight", "--bits")
    assert typed(*eight, "8").code == 0
    assert load_file(tmp_path / "eight" / "unet.safetensors")["up_blocks.0.resnets.0.conv1.weight"].dtype == torch.int8
    assert typed("upscale", photo, "--model", tmp_path / "eight", "-o", tmp_path / "e.png").code == 0
    assert_one_line_error(typed(*eight, "4", "--overwrite"), says="bits (=4) must be 16 or 8")
    assert_one_line_error(typed(*again), says="not empty")
    assert typed(*again, "--overwrite").code == 0
    assert_one_line_error(
        typed("export", "small-perceptual", "--parts", parts, "--to", tmp_path / "x"), says="are of recipe"
    )
    assert_one_line_error(
        typed("export", "small-prior", "--parts", parts, "--to", tmp_path / "x"), says="--autoencoder"
    )
    far = ("--to", tmp_path / "x", "--base", model.parent / "far" / "model")
    assert_one_line_error(typed("export", "d3sr-small", "--parts", parts, *far), says="must lie beside --to")
    assert not (tmp_path / "x").exists()


def test_limits_of_size_name_the_option_that_raises_them(typed: Typed, model: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "scan.png", (150, 100))
    asked = ("upscale", photo, "--model", model, "--scale", "1")
    shown = typed(*asked, "--max-megapixels", "0.01")
    assert (shown.code, "limit 0.01 MP; crop or shrink it, or allow it by --max-megapixels 1 of" in shown.err) == (
        2,
        True,
    )
    shown = typed(*asked, "--max-output-megapixels", "0.01")
    assert (shown.code, "or allow it by --max-output-megapixels 1 of `sdsr upscale`" in shown.err) == (2, True)
    assert typed(*asked, "--max-megapixels", "0.015", "--max-output-megapixels", "0.015", "--quiet") == Shown(0, "", "")
