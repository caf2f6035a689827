"""The label of restored pictures, through each door of the command line and from Python."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from sdsr.cli import main as cli
from sdsr.photos.files import Photo, Traits, encode_photo, read_photo, write_photo
from sdsr.photos.formats import SUFFIX_OF
from sdsr.request import Request
from sdsr.upscaling import Upscaler

Run = Callable[..., str]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a:b xmlns:a="urn:a">of the photo</a:b></x:xmpmeta>'


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path) -> Run:
    """Runs `sdsr upscale` in this process, which must go well; returns what it says on standard error."""

    def typed(*words: str | Path) -> str:
        words = ("sdsr", "upscale", *words, "--model", model, "--scale", "2", "--device", "cpu")
        monkeypatch.setattr(sys, "argv", list(map(str, words)))
        code: object = 0
        try:
            cli.main()
        except SystemExit as left:
            code = left.code
        shown = capsys.readouterr().err
        assert not code, shown
        return shown

    return typed


def photo_file(target: Path) -> Path:
    """A photo of a camera: EXIF, XMP of its own, Adobe RGB."""
    exif = Image.Exif()
    exif[0x010F] = "Maker of cameras"
    exif.get_ifd(0x8769)[0x927C] = b"maker note"
    traits = Traits(exif=exif.tobytes()[6:], icc=imagecodecs.cms_profile("adobergb"), xmp=XMP, dpi=(300.0, 300.0))
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_photo(Photo(pixels=pixels, traits=traits), target)
    return target


@pytest.mark.parametrize("suffix", SUFFIX_OF.values())
def test_every_door_writes_the_same_bytes(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    photo = photo_file(tmp_path / "in" / f"a{suffix}")
    other = tmp_path / "elsewhere" / f"b{suffix}"
    other.parent.mkdir()
    shutil.copy(photo, other)
    received = io.TextIOWrapper(io.BytesIO())
    run(photo, "-o", tmp_path / f"1{suffix}")
    run(other, "-o", tmp_path / f"2{suffix}", "--memory", "3GB")
    run(photo.parent, "-o", tmp_path / "folder")
    with monkeypatch.context() as piped:
        piped.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
        piped.setattr(sys, "stdout", received)
        run("-", "-o", "-")
    upscaler = Upscaler.from_pretrained(model, device="cpu")
    python = encode_photo(upscaler.upscale(read_photo(photo), Request(scale=2)), read_photo(photo).traits.format)
    first = (tmp_path / f"1{suffix}").read_bytes()
    assert first == (tmp_path / f"2{suffix}").read_bytes()
    assert first == (tmp_path / "folder" / f"a{suffix}").read_bytes()
    received.buffer.seek(0)
    assert first == received.buffer.read()
    assert first == python
    traits, given = read_photo(first).traits, read_photo(photo).traits
    assert (traits.exif, traits.icc) == (given.exif, given.icc)
    assert traits.xmp is not None
    assert b">of the photo<" in traits.xmp
    assert str(tmp_path).encode() not in first


def test_without_a_label_it_says_what_is_left_out_and_nothing_else_changes(run: Run, tmp_path: Path) -> None:
    photo = photo_file(tmp_path / "a.png")
    assert run(photo, "-o", tmp_path / "labeled.png") == ""
    told = run(photo, "-o", tmp_path / "bare.png", "--no-label")
    for left_out in ("DigitalSourceType", "AISystemUsed", "AISystemVersionUsed", "settings", "seed", "sha256"):
        assert left_out in told
    assert run(photo, "-o", tmp_path / "quiet.png", "--no-label", "--quiet") == ""
    bare, labeled = read_photo(tmp_path / "bare.png"), read_photo(tmp_path / "labeled.png")
    assert bare.traits.xmp == XMP
    assert np.array_equal(bare.pixels, labeled.pixels)
    assert (tmp_path / "quiet.png").read_bytes() == (tmp_path / "bare.png").read_bytes()


def test_a_folder_restored_without_labels_is_not_finished_with_them(run: Run, tmp_path: Path) -> None:
    photo_file(tmp_path / "in" / "a.png")
    run(tmp_path / "in", "-o", tmp_path / "out", "--no-label")
    run(tmp_path / "in", "-o", tmp_path / "out", "--overwrite")
    assert b"AISystemUsed" in (read_photo(tmp_path / "out" / "a.png").traits.xmp or b"")


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool (libimage-exiftool-perl) is not here")
def test_exiftool_tells_both_steps_of_a_photo_restored_twice(run: Run, tmp_path: Path) -> None:
    photo = photo_file(tmp_path / "0.jpg")
    targets = [tmp_path / f"{number}{suffix}" for number, suffix in enumerate(SUFFIX_OF.values(), start=1)]
    run(photo, "-o", tmp_path / "once.jpg")
    for target in targets:
        run(tmp_path / "once.jpg", "-o", target, "--seed", "9")
    command = ["exiftool", "-json", "-struct", "-G1", "-n", *targets]
    shown = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    digests = [read_photo(source).source_sha256 for source in (photo, tmp_path / "once.jpg")]
    for told in shown:
        assert told["XMP-iptcExt:DigitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
        assert told["XMP-iptcExt:AISystemUsed"] == "sdsr d3sr-small"
        assert [step["InputSha256"] for step in told["XMP-sdsr:Steps"]] == digests
        assert [int(step["Seed"]) for step in told["XMP-sdsr:Steps"]] == [0, 9]
        assert [(step["Width"], step["Height"]) for step in told["XMP-sdsr:Steps"]] == [(32, 24), (64, 48)]
        assert told["IFD0:Make"] == "Maker of cameras"
        if not told["SourceFile"].endswith(".jxl"):  # which is written in sRGB
            assert told["ICC_Profile:ProfileDescription"].startswith("Adobe RGB")
