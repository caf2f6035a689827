"""What counts as finished, and what a kill leaves behind."""

from pathlib import Path

from sdsr.batch.manifest import NAME, Manifest, Work

WORK = Work(input_sha256="1" * 64, settings_sha256="2" * 64)


def test_what_is_finished_is_known_to_the_next_run(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "a.png"
    target.parent.mkdir()
    target.write_bytes(b"result")
    Manifest(tmp_path).finish(target, WORK)
    later = Manifest(tmp_path)
    assert later.finished(target, WORK)
    assert not later.finished(target, Work(input_sha256="3" * 64, settings_sha256="2" * 64))
    assert not later.finished(target, Work(input_sha256="1" * 64, settings_sha256="3" * 64))
    target.write_bytes(b"changed")
    assert not later.finished(target, WORK)
    target.unlink()
    assert not later.finished(target, WORK)


def test_a_result_whose_note_was_lost_needs_no_rework(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    Manifest(tmp_path).begin(target, WORK)
    assert not Manifest(tmp_path).finished(target, WORK)
    target.write_bytes(b"complete, for it appears only so")
    assert Manifest(tmp_path).finished(target, WORK)


def test_a_line_cut_short_costs_only_itself(tmp_path: Path) -> None:
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    for target in (first, second):
        target.write_bytes(b"result")
    Manifest(tmp_path).finish(first, WORK)
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"status": "done", "outp')
    Manifest(tmp_path).finish(second, WORK)
    later = Manifest(tmp_path)
    assert later.finished(first, WORK)
    assert later.finished(second, WORK)
