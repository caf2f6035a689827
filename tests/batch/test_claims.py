"""One photo, one process: and what a killed process held is free at once."""

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from sdsr.batch.claims import claimed, remove_abandoned
from sdsr.errors import OutputError


def test_only_one_has_a_claim_and_nothing_is_left(tmp_path: Path) -> None:
    root = tmp_path / "out"
    one, another = root / "a.png", root / "sub" / "b.png"
    with claimed(root, one) as first, claimed(root, one) as second, claimed(root, another) as other:
        assert (first, second, other) == (True, False, True)
    assert not root.exists()
    root.mkdir()
    (root / "a.png").touch()
    with claimed(root, root / "a.png") as again:
        assert again
    assert [path.name for path in root.iterdir()] == ["a.png"]


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    with claimed(tmp_path, tmp_path / "a.png") as first:
        assert first
    assert tmp_path.is_dir()


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    root = tmp_path / "file" / "out"
    with pytest.raises(OutputError, match="can't be written"), claimed(root, root / "a.png"):
        pass


def hold(root: Path, told: Connection) -> None:
    with claimed(root, root / "a.png") as alone:
        told.send(alone)
        signal.pause()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    listened, told = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path, told))
    process.start()
    assert listened.poll(60)
    assert listened.recv()
    with claimed(tmp_path, tmp_path / "a.png") as alone:
        assert not alone
    remove_abandoned(tmp_path)
    (left,) = tmp_path.iterdir()  # in use
    process.kill()
    process.join(60)
    assert left.exists()
    with claimed(tmp_path, tmp_path / "a.png") as alone:
        assert alone
    left.touch()
    remove_abandoned(tmp_path)
    assert not list(tmp_path.iterdir())
