"""What counts as finished, what a kill leaves behind, and what need not be read again."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from sdsr.batch import entries as lines
from sdsr.batch.audit import merge, status, verify
from sdsr.batch.entries import Work
from sdsr.batch.items import File, Stamp
from sdsr.batch.journal import FOLDER, NAME, manifest_of
from sdsr.batch.manifest import Manifest, State

SETTINGS = "2" * 64
FINISHED = ("finished", "another version")
HOUR_NS = 3600 * 10**9


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(b"photo")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "out" / "sub").mkdir(parents=True)
    return tmp_path / "out"


def work(photo: Path) -> Work:
    return Work.on(File(str(photo)), SETTINGS)


def result(target: Path) -> File:
    """A file as the result that it is of the folder `out` that it is in."""
    return File(str(target), target.as_posix().rpartition("/out/")[2])


def state(manifest: Manifest, photo: Path, target: Path, settings: str = SETTINGS) -> State:
    return manifest.state(File(str(photo)), result(target), settings)


def written(target: Path) -> Path:
    target.write_bytes(b"result")
    return target


def age(*paths: Path) -> None:
    """Let files be old enough for their times to tell that they are unchanged."""
    for path in paths:
        then = path.stat().st_mtime_ns - HOUR_NS
        os.utime(path, ns=(then, then))


def test_what_is_finished_is_known_to_the_next_run(photo: Path, root: Path) -> None:
    target = root / "sub" / "a.png"
    target.write_bytes(b"result")
    manifest_of(root).finish(result(target), work(photo))
    later = manifest_of(root)
    assert state(later, photo, target) == "finished"
    assert state(later, photo, target, "3" * 64) not in FINISHED
    target.write_bytes(b"damage")
    assert state(later, photo, target) not in FINISHED
    target.write_bytes(b"result")
    assert state(later, photo, target) == "finished"
    photo.write_bytes(b"other")
    assert state(later, photo, target) not in FINISHED
    photo.write_bytes(b"photo")
    target.unlink()
    assert state(later, photo, target) not in FINISHED


def test_a_result_whose_note_was_lost_needs_no_rework(photo: Path, root: Path) -> None:
    target = root / "a.png"
    manifest_of(root).begin(result(target), work(photo))
    assert state(manifest_of(root), photo, target) not in FINISHED
    target.write_bytes(b"complete, for it appears only so")
    later = manifest_of(root)
    assert state(later, photo, target) == "finished"
    later.close()
    target.write_bytes(b"changed afterwards")
    assert state(manifest_of(root), photo, target) not in FINISHED


def test_a_line_cut_short_costs_only_itself(photo: Path, root: Path) -> None:
    first, second = root / "a.png", root / "b.png"
    for target in (first, second):
        target.write_bytes(b"result")
    manifest_of(root).finish(result(first), work(photo))
    for torn in (b'{"status": "done", "outp', b"null\n", b"[1]\n", b'{"input_sha256": 1}\n', b"\xff\n", b'"text"'):
        with (root / NAME).open("ab") as file:
            file.write(torn)
    manifest_of(root).finish(result(second), work(photo))
    later = manifest_of(root)
    assert state(later, photo, first) == "finished"
    assert state(later, photo, second) == "finished"


def test_what_another_process_notes_is_seen(photo: Path, root: Path) -> None:
    target = root / "a.png"
    one, other = manifest_of(root), manifest_of(root)
    target.write_bytes(b"result")
    other.finish(result(target), work(photo))
    assert state(one, photo, target) not in FINISHED
    one.refresh()
    assert state(one, photo, target) == "finished"
    (root / NAME).unlink()
    (root / NAME).write_bytes(b"")
    one.refresh()
    assert state(one, photo, target) not in FINISHED


def test_what_is_old_and_finished_is_not_read_again(photo: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = root / "a.png"
    target.write_bytes(b"result")
    age(photo, target)
    manifest_of(root).finish(result(target), work(photo))
    monkeypatch.setattr("sdsr.batch.items.file_sha256", lambda path: pytest.fail("read"))
    assert state(manifest_of(root), photo, target) == "finished"


@pytest.mark.parametrize("changed", ["photo", "result"])
def test_a_change_that_keeps_size_and_time_is_seen(photo: Path, root: Path, changed: str) -> None:
    target = root / "a.png"
    target.write_bytes(b"result")
    age(photo, target)
    manifest_of(root).finish(result(target), work(photo))
    path = photo if changed == "photo" else target
    time_ns = path.stat().st_mtime_ns
    path.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(path, ns=(time_ns, time_ns))
    assert state(manifest_of(root), photo, target) not in FINISHED


def test_a_copied_folder_is_read_once(photo: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = root / "a.png"
    target.write_bytes(b"result")
    manifest_of(root).finish(result(target), work(photo))
    age(photo, target)  # as a copy that keeps no times
    once = manifest_of(root)
    assert state(once, photo, target) == "finished"
    once.close()
    monkeypatch.setattr("sdsr.batch.items.file_sha256", lambda path: pytest.fail("read"))
    assert state(manifest_of(root), photo, target) == "finished"


def test_times_of_a_file_just_written_tell_nothing(photo: Path) -> None:
    os.utime(photo)
    assert Stamp.of(photo) is None
    assert Stamp.of(photo.with_name("missing")) is None
    age(photo)
    assert Stamp.of(photo) == Stamp.of(photo)
    assert Stamp.of(photo) is not None


def test_names_that_are_no_text_are_kept(photo: Path, root: Path) -> None:
    target = root / os.fsdecode(b"\xff\n\xe2\x80\xa8.png")
    target.write_bytes(b"result")
    manifest_of(root).finish(result(target), work(photo))
    assert state(manifest_of(root), photo, target) == "finished"


def test_each_machine_appends_to_a_file_of_its_own(photo: Path, root: Path) -> None:
    names = ("a.png", "b.png", "c.png")
    one, two = manifest_of(root, machine="one"), manifest_of(root, machine="two")
    for of_machine, name in ((one, "a.png"), (two, "b.png"), (one, "c.png")):
        of_machine.begin(result(root / name), work(photo))
        of_machine.finish(result(written(root / name)), work(photo))
    (file,) = (root / FOLDER).iterdir()
    assert b"b.png" in file.read_bytes()
    assert b"b.png" not in (root / NAME).read_bytes()
    for read in (one, two, manifest_of(root)):
        read.refresh()
        assert read.entries.keys() == set(names)
        assert all(state(read, photo, root / name) == "finished" for name in names)


def test_where_machines_contradict_each_other_the_result_tells(
    photo: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = root / "a.png"
    one, two = manifest_of(root, machine="one"), manifest_of(root, machine="two")
    one.begin(result(target), work(photo))
    one.finish(result(written(target)), work(photo))
    monkeypatch.setattr("sdsr.batch.manifest.time.time", lambda: 0.0)  # the clock of the other is behind
    other = replace(work(photo), settings_sha256="4" * 64)
    two.begin(result(target), other)
    target.write_bytes(b"another result")
    two.finish(result(target), other)
    later = manifest_of(root)
    assert state(later, photo, target, "4" * 64) == "finished"
    assert state(later, photo, target) == "other settings"


NO_LINES = [b"[1]", b'"x"', b"null", b"[" * 100_000, b"\0" * 4096, b"\xff\xfe", b"{}", b'{"output": 1', b"{} {}"]
WRONG = [{"output": 5}, {"output": None}, {"output_sha256": 5}, {"input_sha256": []}, {"version": 5}, {"at": "now"}]


@pytest.mark.parametrize("of_another_machine", [False, True])
def test_whatever_else_is_in_a_manifest_is_passed_over(tmp_path: Path, *, of_another_machine: bool) -> None:
    good = {"output": "a.png", "input_sha256": "1", "settings_sha256": "2", "output_sha256": "3", "at": 1.0}
    lines = [*NO_LINES, *(json.dumps(good | wrong).encode() for wrong in WRONG), json.dumps(good).encode()]
    path = tmp_path / FOLDER / "another.jsonl" if of_another_machine else tmp_path / NAME
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\n".join(lines) + b"\n")
    (tmp_path / NAME).touch()
    assert manifest_of(tmp_path).entries.keys() == {"a.png"}
    assert [state for _, state in verify(tmp_path)] == ["missing"]


def test_what_a_later_version_adds_to_a_line_is_passed_over_and_not_the_line(tree: Path) -> None:
    out = tree.parent / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"made")
    manifest_of(out).finish(result(out / "a.png"), Work.on(File(str(tree / "a.png")), "settings"))
    *others, line = (out / NAME).read_text().splitlines()
    noted = json.loads(line) | {"more": [1]}
    noted |= {
        name: {"size": 1, "modified_ns": 2, "changed_ns": 3, "more": 4} for name in ("input_stamp", "output_stamp")
    }
    (out / NAME).write_text("\n".join([*others, json.dumps(noted), ""]))
    assert manifest_of(out).entries["a.png"].output_mark == Stamp(size=1, modified_ns=2, changed_ns=3)
    assert state(manifest_of(out), tree / "a.png", out / "a.png", "settings") == "finished"


def test_lines_are_as_they_ever_were(tmp_path: Path) -> None:
    """What former versions wrote is read, and what is written they read."""
    of_folder = (
        b'{"status": "done", "output": "a.png", "input_sha256": "1", "settings_sha256": "2", '
        b'"input_stamp": {"size": 1, "modified_ns": 2, "changed_ns": 3}, "output_sha256": "4", "output_stamp": null, '
        b'"version": "0.1", "at": 1.5}\n'
    )
    begun = (
        b'{"status": "begun", "output": "b.png", "input_sha256": "1", "settings_sha256": "2", "input_stamp": null, '
        b'"output_sha256": null, "output_stamp": null, "replaces": "5", "version": "0.1", "at": 1.5}\n'
    )
    of_bucket = {
        "status": "done",
        "output": "c.png",
        "input_sha256": "1",
        "settings_sha256": "2",
        "output_sha256": "4",
        "input_version": '"e-tag"',
        "output_version": "7",
        "version": "0.1",
        "at": 1.5,
    }
    (tmp_path / NAME).write_bytes(of_folder + begun + json.dumps(of_bucket).encode() + b"\n")
    entries = manifest_of(tmp_path).entries
    assert [lines.written(name, entries[name]) for name in ("a.png", "b.png")] == [of_folder, begun]
    assert json.loads(lines.written("c.png", entries["c.png"])) == of_bucket
    assert entries["b.png"].replaces == "5"
    assert entries["c.png"].work.input_mark == '"e-tag"'


def test_a_name_that_no_file_can_have_is_of_none(tmp_path: Path) -> None:
    noted = {"output": "x" * 5000, "input_sha256": "1", "settings_sha256": "2", "output_sha256": "3"}
    (tmp_path / NAME).write_text(json.dumps(noted) + "\n")
    assert [state for _, state in verify(tmp_path)] == ["missing"]
    assert status(tmp_path).missing == 1
    assert [merged for _, merged in merge(tmp_path / "whole", [tmp_path])] == ["not whole"]
