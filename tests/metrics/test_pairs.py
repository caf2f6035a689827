from pathlib import Path

import pytest

from sdsr.errors import InputError
from sdsr.metrics.pairs import pair_folders, photos_by_name


def test_tags_of_resolution_are_ignored(folders):
    pairs = pair_folders(folders / "out", folders / "HR")
    assert [pair.name for pair in pairs] == ["Canon_000", "Canon_001", "Canon_002"]
    assert pairs[0].truth is not None
    assert pairs[0].result().shape == pairs[0].truth().shape == (192, 192, 3)


@pytest.mark.parametrize("stem", ["a_LR4", "a_lr", "a_HR", "a_x4", "a_LRx2", "a_SR", "a"])
def test_each_tag_leaves_the_name(tmp_path, stem):
    (tmp_path / f"{stem}.png").touch()
    assert list(photos_by_name(tmp_path)) == ["a"]


def test_what_is_no_tag_stays(tmp_path):
    for stem in ("box4", "a_LRS", "HR"):
        (tmp_path / f"{stem}.png").touch()
    (tmp_path / "notes.txt").touch()
    assert list(photos_by_name(tmp_path)) == ["HR", "a_LRS", "box4"]


def mirrored(*roots: Path) -> None:
    for root in roots:
        for name in ("a", "sub/a", "sub/deep/b"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / f"{name}.png").touch()


def test_a_mirrored_tree_is_measured_whole(tmp_path):
    out, truth = tmp_path / "out", tmp_path / "HR"
    mirrored(out, truth)
    (truth / "sub" / "a.png").rename(truth / "sub" / "a_HR.jpg")
    (out / ".sdsr-manifest.jsonl").touch()
    (out / ".hidden").mkdir()
    (out / ".hidden" / "c.png").touch()
    assert [pair.name for pair in pair_folders(out, truth)] == ["a", "sub/a", "sub/deep/b"]
    assert [pair.name for pair in pair_folders(out)] == ["a", "sub/a", "sub/deep/b"]


def test_a_tree_against_a_flat_folder_says_why(tmp_path):
    out, truth = tmp_path / "out", tmp_path / "HR"
    mirrored(out)
    truth.mkdir()
    for stem in ("a", "b"):
        (truth / f"{stem}_HR.png").touch()
    with pytest.raises(InputError, match=r"2 of 3 results \(sub.a\.png \.\.\.\); photos of those names are there in"):
        pair_folders(out, truth)


def test_two_files_of_one_name_are_an_error(folders):
    (folders / "out" / "Canon_000.jpg").touch()
    with pytest.raises(InputError, match="both stand for photo Canon_000"):
        photos_by_name(folders / "out")


def test_a_result_without_truth_is_an_error(folders):
    (folders / "HR" / "Canon_001_HR.png").unlink()
    with pytest.raises(InputError, match=r"no partner for 1 of 3 results \(Canon_001_x4.png"):
        pair_folders(folders / "out", folders / "HR")


def test_a_truth_without_result_is_said(folders, caplog):
    (folders / "out" / "Canon_001_x4.png").unlink()
    assert len(pair_folders(folders / "out", folders / "HR")) == 2
    assert "covers 2 of the 3" in caplog.text


def test_folders_must_exist_and_hold_photos(tmp_path):
    with pytest.raises(InputError, match="doesn't exist"):
        photos_by_name(tmp_path / "none")
    with pytest.raises(InputError, match="holds no photo"):
        photos_by_name(tmp_path)
