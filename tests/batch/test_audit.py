"""What a manifest says against what is there: status, verification, and folders made one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdsr.batch.audit import Status, merge, status, verify
from sdsr.batch.claims import Claims
from sdsr.batch.entries import Work
from sdsr.batch.items import File
from sdsr.batch.journal import NAME, manifest_of
from sdsr.errors import InputError, OutputError

SETTINGS = "2" * 64


def made(root: Path, *names: str, begun: tuple[str, ...] = ()) -> Path:
    """A folder of results, some noted as done, some as begun only."""
    root.mkdir(parents=True, exist_ok=True)
    manifest = manifest_of(root)
    for name in (*names, *begun):
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((3, 4, 3), sum(name.encode()) % 256, np.uint8)
        work = Work(input_sha256="1" * 64, settings_sha256=SETTINGS)
        manifest.begin(File(str(target), name), work)
        Image.fromarray(pixels).save(target)
        if name in names:
            manifest.finish(File(str(target), name), work)
    return root


def test_a_folder_tells_how_far_it_is(tmp_path: Path) -> None:
    root = made(tmp_path / "out", "a.png", "sub/b.png", "c.png", begun=("d.png", "e.png"))
    (root / "c.png").unlink()
    (root / "e.png").unlink()
    (root / "a.png").rename(root / "other.png")
    (root / "other.png").rename(root / "a.png")
    Image.new("RGB", (2, 2)).save(root / "foreign.png")
    expected = Status(done=3, missing=1, interrupted=1, in_work=0, unnoted=1)
    assert status(root) == expected
    claims = Claims(root)
    claim = claims.take("e.png")
    assert claim is not None
    assert status(root).in_work == 1
    claim.release()
    claims.close()
    assert status(root) == expected


def test_each_result_is_held_against_its_note(tmp_path: Path) -> None:
    root = made(tmp_path / "out", "a.png", "b.png", "c.png", begun=("d.png", "e.png"))
    (root / "b.png").write_bytes(b"damage")
    (root / "c.png").unlink()
    (root / "e.png").unlink()
    states = {"a.png": "whole", "b.png": "changed", "c.png": "missing", "d.png": "whole", "e.png": "interrupted"}
    assert dict(verify(root)) == states


def test_folders_become_one_and_are_finished_there(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"photo")
    one = made(tmp_path / "one", "a.png", begun=("d.png",))
    two = made(tmp_path / "two", "sub/b.png")
    manifest_of(two).finish(File(str(two / "sub" / "b.png"), "sub/b.png"), Work.on(File(str(photo)), SETTINGS))
    out = tmp_path / "out"
    became = {path.relative_to(tmp_path).as_posix(): how for path, how in merge(out, [one, two])}
    assert became == {"one/a.png": "taken", "one/d.png": "taken", "two/sub/b.png": "taken"}
    assert dict(verify(out)) == dict.fromkeys(("a.png", "d.png", "sub/b.png"), "whole")
    merged = File(str(out / "sub" / "b.png"), "sub/b.png")
    assert manifest_of(out).state(File(str(photo)), merged, SETTINGS) == "finished"
    assert {how for _, how in merge(out, [one, two])} == {"there already"}
    assert sorted(path.name for path in out.iterdir()) == [NAME, "a.png", "d.png", "sub"]


def test_nothing_is_replaced_and_nothing_broken_is_taken(tmp_path: Path) -> None:
    one = made(tmp_path / "one", "a.png", "b.png", "c.png")
    (one / "b.png").write_bytes(b"damage")
    (one / "c.png").unlink()
    out = made(tmp_path / "out")
    (out / "a.png").write_bytes(b"another")
    assert [how for _, how in merge(out, [one])] == ["different", "not whole", "not whole"]
    assert (out / "a.png").read_bytes() == b"another"
    assert not (out / "b.png").exists()
    assert (one / "b.png").read_bytes() == b"damage"


def test_a_result_that_lost_its_note_gets_it(tmp_path: Path) -> None:
    one = made(tmp_path / "one", "a.png")
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes((one / "a.png").read_bytes())
    assert [how for _, how in merge(out, [one])] == ["there already"]
    assert dict(verify(out)) == {"a.png": "whole"}


def test_what_another_process_writes_is_not_touched(tmp_path: Path) -> None:
    one = made(tmp_path / "one", "a.png")
    out = made(tmp_path / "out")
    claims = Claims(out)
    assert claims.take("a.png") is not None
    with pytest.raises(OutputError, match="is being written by another process"):
        list(merge(out, [one]))
    claims.close()


def test_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    one = made(tmp_path / "one", "a.png")
    with pytest.raises(InputError, match="can't be merged into itself"):
        list(merge(one, [tmp_path / "." / "one"]))
    (tmp_path / "none").mkdir()
    for refused in (lambda: status(tmp_path / "none"), lambda: list(verify(tmp_path / "none"))):
        with pytest.raises(InputError, match="has no manifest"):
            refused()
    with pytest.raises(InputError, match=r"^s3://archive/results is a bucket"):
        status(Path("s3://archive/results"))


@pytest.mark.parametrize("name", ["../a.png", "sub/../../a.png", "/tmp/a.png"])
def test_a_manifest_can_not_reach_beyond_its_folder(tmp_path: Path, name: str) -> None:
    one = made(tmp_path / "one", "a.png")
    manifest = one / NAME
    manifest.write_bytes(manifest.read_bytes().replace(b'"a.png"', f'"{name}"'.encode()))
    with pytest.raises(InputError, match="names a file beyond it"):
        list(merge(tmp_path / "out", [one]))
