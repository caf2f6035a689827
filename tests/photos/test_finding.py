"""Which photos are found: linked folders too, each once, and nothing is passed over without a word."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdsr.photos.finding import find_names, find_photos


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """photos/: a.jpg, a.png, sub/b.png, broken.jpg, and what is hidden or no photo; all empty."""
    for name in ("a.jpg", "a.png", "sub/b.png", "broken.jpg", ".hidden.png", "Thumbs.db", ".git/c.png"):
        photo(tmp_path / "photos" / name)
    return tmp_path / "photos"


def found(folder: Path, **besides: Path) -> list[str]:
    return [(here / name).relative_to(folder).as_posix() for here, name in find_names(folder, **besides)]


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_hidden_and_system_files_are_passed_over(tree: Path) -> None:
    assert found(tree) == ["a.jpg", "a.png", "broken.jpg", "sub/b.png"]


def test_a_picture_that_is_not_read_is_found_for_its_reader_to_name(tree: Path) -> None:
    for name in ("moving.gif", "IMG.HEIC", "shot.nef", "old.jfif"):
        photo(tree / name)
    assert {"moving.gif", "IMG.HEIC", "shot.nef", "old.jfif"} <= set(found(tree))


def test_what_is_no_picture_is_passed_over_with_a_word(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert found(tree)
    assert not caplog.text, "Thumbs.db is nobody's photo"
    for name in ("report.html", "sub/b.png.report.html"):
        photo(tree / name)
    assert found(tree)
    assert not caplog.text, "nor are our own pages"
    for name in ("clip.mp4", "sub/CLIP.MP4", "scan.pdf", "notes.txt"):
        photo(tree / name)
    assert found(tree) == ["a.jpg", "a.png", "broken.jpg", "sub/b.png"]
    assert "holds files that are no photos (2 .mp4, 1 .pdf)" in caplog.text


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    photo(tmp_path / "far" / "deep" / "b.jpg")
    photo(tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "album").symlink_to(tmp_path / "far")
    assert found(tmp_path / "photos") == ["a.jpg", "album/deep/b.jpg"]
    (tmp_path / "also").symlink_to(tmp_path / "photos")
    assert found(tmp_path / "also") == ["a.jpg", "album/deep/b.jpg"]


def test_a_folder_with_two_ways_to_it_is_walked_once_under_its_own_name(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "z" / "a.jpg")
    photo(tmp_path / "far" / "b.jpg")
    (tmp_path / "photos" / "a").symlink_to(tmp_path / "photos" / "z")
    (tmp_path / "photos" / "b").symlink_to(tmp_path / "far")
    (tmp_path / "photos" / "c").symlink_to(tmp_path / "far")
    assert found(tmp_path / "photos") == ["b/b.jpg", "z/a.jpg"]


def test_loops_end_and_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "photos"
    photo(root / "sub" / "a.jpg")
    photo(tmp_path / "beside.jpg")
    (root / "sub" / "up").symlink_to("..")
    (root / "top").symlink_to(tmp_path)
    (root / "itself").symlink_to("itself")
    photo(tmp_path / "far" / "b.jpg")
    (tmp_path / "far" / "back").symlink_to(root)
    (root / "far").symlink_to(tmp_path / "far")
    assert found(root) == ["far/b.jpg", "sub/a.jpg"]
    for name in ("sub/up", "top", "far/back"):
        assert f"the link {root / name} leads back to a folder above" in caplog.text
    assert f"the link {root / 'itself'} leads nowhere" in caplog.text


def test_links_that_lead_nowhere_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "album").symlink_to(tmp_path / "gone")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    assert found(tmp_path) == ["a.jpg"], "its reader says that nothing is there"
    assert f"the link {tmp_path / 'album'} leads nowhere" in caplog.text


def test_results_reached_by_a_link_are_not_photos(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.jpg")
    photo(tmp_path / "out" / "a.jpg")
    (tmp_path / "photos" / "results").symlink_to(tmp_path / "out")
    assert found(tmp_path / "photos", besides=tmp_path / "out") == ["a.jpg"]


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "locked" / "b.jpg")
    scan = os.scandir

    def refuse(folder: Path):  # as root, permissions stop nobody
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert found(tmp_path) == ["a.jpg"]
    assert f"folder {tmp_path / 'locked'} can't be read (Permission denied)" in caplog.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(links=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8))
def test_any_net_of_links_ends_and_finds_each_photo_once(
    tmp_path_factory: pytest.TempPathFactory, links: list[tuple[int, int]]
) -> None:
    base = tmp_path_factory.mktemp("net")
    folders = [base / "in", base / "in/a", base / "in/a/b", base / "out", base / "out/c", base / "far"]
    for number, folder in enumerate(folders):
        photo(folder / f"{number}.jpg")
    for number, (start, end) in enumerate(links):
        (folders[start] / f"link{number}").symlink_to(folders[end])
    names = [path.name for path in find_photos(folders[0])]
    assert len(names) == len(set(names))
    reached = {0, 1, 2}
    below = {0: {0, 1, 2}, 1: {1, 2}, 2: {2}, 3: {3, 4}, 4: {4}, 5: {5}}
    while more := {one for a, b in links if a in reached for one in below[b]} - reached:
        reached |= more
    assert {int(name[0]) for name in names} == reached
