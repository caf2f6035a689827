"""Folders that commands write."""

from pathlib import Path

import pytest

from sdsr.cli.folders import complete_folder
from sdsr.errors import OutputError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_files_appear_together_and_nothing_is_left_beside(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    with complete_folder(target, overwrite=False) as folder:
        (folder / "a.json").write_text("a")
        (folder / "b").write_text("b")
        assert names(target) == set()
    assert names(target) == {"a.json", "b"}
    assert names(target.parent) == {"folder"}
    assert (target / "b").stat().st_mode & 0o777 == 0o644


def test_what_fails_in_the_middle_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")

    def fail() -> None:
        with complete_folder(tmp_path, overwrite=True) as folder:
            (folder / "a").write_text("after")
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fail()
    assert (tmp_path / "a").read_text() == "before"
    assert not list(tmp_path.parent.glob(".*.partial"))


def test_what_fails_in_the_middle_leaves_no_new_folder(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()

    def fail(target: Path) -> None:
        with complete_folder(target, overwrite=False) as folder:
            (folder / "a").write_text("a")
            raise ValueError("in the middle")

    for target in (tmp_path / "new" / "folder", tmp_path / "there"):
        with pytest.raises(ValueError, match="in the middle"):
            fail(target)
    assert names(tmp_path) == {"there"}
    assert names(tmp_path / "there") == set()


def test_a_folder_that_holds_something_is_refused_or_joined(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("before")
    with pytest.raises(OutputError, match=r"not empty; .*--overwrite"), complete_folder(tmp_path, overwrite=False):
        pass
    with complete_folder(tmp_path, overwrite=True) as folder:
        (folder / "a").write_text("after")
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["after", "before"]


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for overwrite in (False, True):
        with (
            pytest.raises(OutputError, match="choose another"),
            complete_folder(tmp_path / "file", overwrite=overwrite),
        ):
            pass
