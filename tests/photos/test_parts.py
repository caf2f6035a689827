"""Files that are whole or not there."""

import shutil
from pathlib import Path

import pytest

from sdsr.photos.parts import new_part, remove_parts, whole_file


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path, durable: bool) -> None:
    target = tmp_path / "a.json"
    target.write_text("before")
    with whole_file(target, durable=durable) as part:
        part.write_text("after")
        assert target.read_text() == "before"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "after")]


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("before")
    with pytest.raises(FileNotFoundError), whole_file(target) as part:
        shutil.copy(tmp_path / "gone.json", part)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "before")]


def test_what_a_killed_process_left_is_known_by_its_target(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        new_part(tmp_path / name).touch()
    remove_parts(tmp_path / "a.png")
    assert len(list(tmp_path.iterdir())) == 1
