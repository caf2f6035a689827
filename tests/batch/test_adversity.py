"""What goes wrong around a batch: a target that can't be written, photos that vanish, clocks that jump, a full disk."""

import errno
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from sdsr.batch.desk import Batch
from sdsr.batch.engine import process
from sdsr.batch.leasing import FOLDER
from sdsr.batch.model import Model
from sdsr.batch.outcome import Outcome
from sdsr.batch.settings import Settings
from sdsr.batch.walking import Naming, Task, plan
from sdsr.request import Request
from sdsr.upscaling import Upscaler
from tests.batch.loaded import model_of

TWICE = Settings(request=Request(scale=2.0))


@pytest.fixture
def tasks(tree: Path) -> list[Task]:
    (tree / "broken.jpg").unlink()
    return plan([tree], Naming(request=TWICE.request), output=tree.parent / "out")


def run(tasks: list[Task], upscaler: Upscaler) -> dict[str, Outcome]:
    found = process(Batch(tasks=tasks, model=model_of(upscaler), settings=TWICE))
    return dict(zip([task.name for task in tasks], found, strict=True))


def results(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*g")}


def unloadable() -> NoReturn:
    raise AssertionError("the model is loaded for nothing")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder where root can't write either")
def test_a_target_that_cannot_be_written_fails_each_photo_before_the_model_is_loaded(tree: Path) -> None:
    tasks = plan([tree], Naming(request=TWICE.request), output=Path("/sys/sdsr-results"))
    model = Model(name="none", sha256="0" * 64, load=unloadable)
    found = list(process(Batch(tasks=tasks, model=model, settings=TWICE)))
    assert {outcome.kind for outcome in found} == {"output"}
    assert all("choose another" in (outcome.error or "") for outcome in found)
    assert len(found) == 4


def test_a_photo_that_vanishes_fails_and_the_rest_go_on(tasks: list[Task], tree: Path, upscaler: Upscaler) -> None:
    (tree / "a.png").unlink()
    found = run(tasks, upscaler)
    assert [found[name].status for name in ("a.jpg", "a.png", "sub/b.png")] == ["done", "failed", "done"]
    assert found["a.png"].kind == "photo"
    assert "a.png can't be read (No such file or directory)" in (found["a.png"].error or "")
    assert not (tree.parent / "out" / FOLDER).exists()


def test_clocks_that_jump_make_nothing_twice(
    tasks: list[Task], tree: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = 86_400
    for jump in (-day, day, -2 * day):
        with monkeypatch.context() as clock:
            now = time.time() + jump
            clock.setattr(time, "time", lambda: now)  # noqa: B023
            clock.setattr(time, "time_ns", lambda: int(now * 1e9))  # noqa: B023
            os.utime(tree / "a.jpg", (now, now))  # touched by whoever has that clock
            found = run(tasks, upscaler)
        expected = "done" if jump == -day else "skipped"
        assert {outcome.status for outcome in found.values()} == {expected}


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system write no file beyond a size: what is over it is cut off, as where a disk gets full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_where_a_file_can_be_written_in_part_nothing_of_it_stays(
    tasks: list[Task], tree: Path, upscaler: Upscaler
) -> None:
    whole = plan([tree], Naming(request=TWICE.request), output=tree.parent / "whole")
    run(whole, upscaler)
    expected = results(tree.parent / "whole")
    for size in (0, 20, 150, 500, 900, 1300, 1700, 2300, 3000):
        out = tree.parent / f"out-{size}"
        tasks = plan([tree], Naming(request=TWICE.request), output=out)
        with files_of_at_most(size):
            cut = run(tasks, upscaler)
        assert {outcome.kind for outcome in cut.values()} <= {"output", None}, size
        assert any(outcome.kind == "output" for outcome in cut.values()) or size > 1700
        assert results(out).items() <= expected.items(), "nothing half-written"
        again = run(tasks, upscaler)
        assert {outcome.status for outcome in again.values()} <= {"done", "skipped"}, again
        assert results(out) == expected
        assert not list(out.rglob("*.part"))
        assert not (out / FOLDER).exists()


def test_a_disk_that_gets_full_at_any_moment_costs_no_result(
    tasks: list[Task], tree: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = plan([tree / "a.png"], Naming(request=TWICE.request), output=tree.parent / "out")
    fsync = os.fsync
    for moment in range(1, 6):
        calls: list[int] = []

        def full(file: int) -> None:
            calls.append(file)  # noqa: B023
            if len(calls) >= moment:  # noqa: B023
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(file)

        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", full)
            (cut,) = run(tasks, upscaler).values()
        if len(calls) < moment:
            assert cut.status == "done"
            break
        assert (cut.status, cut.kind) == ("failed", "output") or cut.status == "done", moment
        assert not list((tree.parent / "out").rglob("*.part"))
        (again,) = run(tasks, upscaler).values()
        assert again.status in ("done", "skipped")
        tasks[0].target.unlink()
    assert moment >= 4, "begun, written, and noted were each tried"
