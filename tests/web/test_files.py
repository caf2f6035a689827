"""What is kept, and how much of it."""

from pathlib import Path

from sdsr.web.files import Files, remove


def test_all_is_counted_now_and_then_and_what_is_new_at_once(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "upload").write_bytes(bytes(100))
    files = Files(tmp_path / "kept", 1000)
    counts = []
    monkeypatch.setattr(files, "used_bytes", lambda: counts.append(1) or Files.used_bytes(files))

    def keep() -> Path:
        with (tmp_path / "upload").open("rb") as upload:
            folder = files.photo(files.keep(upload, "source")[0])
        files.note(folder)
        return folder

    for _ in range(9):
        assert not files.full()
        keep()
    assert len(counts) == 1, "it takes the longer the more there is"
    last = keep()
    assert files.full()
    remove(last)
    assert not files.full(), "what was deleted makes room at once"
