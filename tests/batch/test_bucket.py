"""Photos and results in a bucket, by fsspec's file system in memory: shared, cut off, changed, and known again."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import fsspec
import pytest

from sdsr.batch import leasing
from sdsr.batch.bucket.journal import BucketJournal
from sdsr.batch.bucket.leases import Intent, Leases
from sdsr.batch.bucket.planning import Bucket, Places, plan_bucket
from sdsr.batch.bucket.results import BucketResults
from sdsr.batch.bucket.store import Seen, Store
from sdsr.batch.desk import Batch, Desk
from sdsr.batch.engine import process
from sdsr.batch.journal import NAME
from sdsr.batch.leasing import EXPIRY_S, FOLDER, bury
from sdsr.batch.manifest import Manifest
from sdsr.batch.opening import Opened, open_task
from sdsr.batch.outcome import Outcome
from sdsr.batch.settings import Settings
from sdsr.batch.shards import Shard
from sdsr.batch.walking import Naming, Task, plan
from sdsr.errors import InputError
from sdsr.request import Request
from sdsr.upscaling import Upscaler
from tests.batch.loaded import model_of

TWICE = Settings(request=Request(scale=2.0))
PLACES = Places(photos="memory://bucket/photos", results="memory://bucket/out")


@pytest.fixture
def bucket(tree: Path) -> Iterator[fsspec.AbstractFileSystem]:
    """The tree's files as objects, one of them with a name that a pattern would be, and one in no photo's place."""
    memory = fsspec.filesystem("memory")
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            memory.pipe_file(f"/bucket/photos/{path.relative_to(tree).as_posix()}", path.read_bytes())
    memory.pipe_file("/bucket/photos/sub/[ab]#*?.png", (tree / "a.png").read_bytes())
    memory.pipe_file("/bucket/photos-2/a.png", b"of another prefix")
    yield memory
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def run(upscaler: Upscaler, settings: Settings = TWICE, limit: int | None = None) -> dict[str, Outcome]:
    return {outcome.input.rpartition("photos/")[2]: outcome for outcome in outcomes(upscaler, settings, limit)}


def outcomes(upscaler: Upscaler, settings: Settings = TWICE, limit: int | None = None) -> Iterator[Outcome]:
    tasks, found = plan_bucket(PLACES, Naming(request=settings.request))
    return process(Batch(tasks=tasks, model=model_of(upscaler), settings=settings, limit=limit, bucket=found))


def statuses(found: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.status for name, outcome in found.items()}


def results(memory: fsspec.AbstractFileSystem) -> dict[str, bytes]:
    found = {path.removeprefix("/bucket/out/"): path for path in memory.find("/bucket/out")}
    return {name: memory.cat_file(path) for name, path in found.items() if not name.startswith(".")}


DONE = {"a.jpg": "done", "a.png": "done", "broken.jpg": "failed", "sub/b.png": "done", "sub/[ab]#*?.png": "done"}


def test_results_are_those_of_a_folder_and_known_again_unread(
    bucket: fsspec.AbstractFileSystem, tree: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(upscaler)
    assert statuses(found) == DONE
    assert found["a.png"].input == "memory://bucket/photos/a.png"
    assert found["a.png"].output == "memory://bucket/out/a.png"
    assert (found["broken.jpg"].kind, found["a.png"].size) == ("photo", (32, 24))
    tasks = plan([tree], Naming(request=TWICE.request), output=tree.parent / "out")
    list(process(Batch(tasks=tasks, model=model_of(upscaler), settings=TWICE)))
    in_folder = {path.relative_to(tree.parent / "out").as_posix(): path for path in (tree.parent / "out").rglob("*.*g")}
    assert results(bucket).keys() == in_folder.keys() | {"sub/[ab]#*?.png"}
    assert all(results(bucket)[name] == path.read_bytes() for name, path in in_folder.items())
    assert not bucket.exists(f"/bucket/out/{FOLDER}"), "no lease is left"
    here = tree.parent / "copied"
    for path in bucket.find("/bucket/out"):
        copy = here / path.removeprefix("/bucket/out/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(bucket.cat_file(path))
    tasks = plan([tree], Naming(request=TWICE.request), output=here)
    on = process(Batch(tasks=tasks, model=model_of(upscaler), settings=TWICE))
    assert [outcome.status for outcome in on] == ["skipped", "skipped", "failed", "skipped"], (
        "a copy goes on in a folder"
    )
    bucket.rm_file("/bucket/photos/broken.jpg")
    monkeypatch.setattr(Store, "fetch", lambda *arguments: pytest.fail("read"))
    assert set(statuses(run(upscaler)).values()) == {"skipped"}


def test_what_changed_is_done_again_and_says_so(bucket: fsspec.AbstractFileSystem, upscaler: Upscaler) -> None:
    run(upscaler)
    bucket.pipe_file("/bucket/photos/a.jpg", bucket.cat_file("/bucket/photos/a.jpg"))  # put there again, the same
    bucket.pipe_file("/bucket/photos/a.png", bucket.cat_file("/bucket/photos/a.jpg"))
    bucket.rm_file("/bucket/out/sub/b.png")
    second = run(upscaler)
    assert statuses(second) == DONE | {"a.jpg": "skipped", "sub/[ab]#*?.png": "skipped"}
    assert (second["a.png"].again, second["sub/b.png"].again) == ("the photo changed", "its result was gone")
    third = run(upscaler, Settings(request=Request(scale=3.0)))
    assert {outcome.again for outcome in third.values() if outcome.status == "done"} == {"settings or weights changed"}


def test_what_is_not_ours_is_replaced_only_when_told(bucket: fsspec.AbstractFileSystem, upscaler: Upscaler) -> None:
    bucket.pipe_file("/bucket/out/a.png", b"somebody's work")
    run(upscaler)
    bucket.pipe_file("/bucket/out/a.jpg", b"edited")
    refused = run(upscaler)
    assert [refused[name].kind for name in ("a.png", "a.jpg")] == ["output", "output"]
    verified = run(upscaler, Settings(request=TWICE.request, on_exists="verify"))
    assert (verified["a.jpg"].again, verified["a.png"].status) == ("its result changed", "failed")
    assert bucket.cat_file("/bucket/out/a.png") == b"somebody's work"
    assert run(upscaler, Settings(request=TWICE.request, on_exists="replace"))["a.png"].status == "done"


@pytest.mark.slow
def test_two_at_once_restore_each_photo_once(bucket: fsspec.AbstractFileSystem, upscaler: Upscaler) -> None:
    one = outcomes(upscaler)
    other = outcomes(upscaler)
    first = [next(one), next(other)]
    rest = [*one, *other]
    done = [outcome.output for outcome in first + rest if outcome.status == "done"]
    assert sorted(done) == sorted(set(done))
    assert len(done) == 4
    noted = [
        json.loads(line)["output"]
        for path in bucket.find("/bucket/out/.sdsr-manifests")
        for line in bucket.cat_file(path).splitlines()
    ]
    assert sorted(noted) == sorted({*noted}), "no result is noted twice"


def test_no_more_than_the_limit_is_restored(bucket: fsspec.AbstractFileSystem, upscaler: Upscaler) -> None:
    assert list(run(upscaler, limit=1)) == ["a.jpg"]
    assert not bucket.exists(f"/bucket/out/{FOLDER}"), "the one fetched ahead is let go"
    statuses = sorted(outcome.status for outcome in outcomes(upscaler, limit=2))
    assert statuses == ["done", "done", "failed", "skipped"]


def test_results_of_earlier_runs_are_no_photos(bucket: fsspec.AbstractFileSystem, upscaler: Upscaler) -> None:
    run(upscaler)
    bucket.copy("/bucket/out/a.jpg", "/bucket/photos/a_x2.jpg")
    assert {name for name, outcome in run(upscaler).items() if outcome.labeled} == {"a_x2.jpg"}
    assert not bucket.exists("/bucket/out/a_x2.jpg")
    assert run(upscaler, replace(TWICE, labeled=True))["a_x2.jpg"].status == "done"


def notes(token: str) -> Manifest:
    """What a process of this token finds noted."""
    return Manifest(BucketJournal(Store(PLACES.results), token))


def silence(leases: Leases) -> None:
    assert leases._heartbeat is not None
    leases._heartbeat.stop()


def opened(upscaler: Upscaler) -> tuple[Desk, BucketResults]:
    """A desk of another process, which has opened the bucket."""
    batch = Batch(tasks=[], model=model_of(upscaler), settings=TWICE, bucket=Bucket(places=PLACES, photos={}))
    desk = Desk(batch=batch)
    results = desk.results(Path(PLACES.results))
    assert isinstance(results, BucketResults)
    return desk, results


def killed(results: BucketResults, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let results be as those of a process that is killed: nothing is said any more, and time passes."""
    silence(results._leases)
    clock = count(0.0, EXPIRY_S)
    monkeypatch.setattr(leasing, "_monotonic", lambda: next(clock))
    monkeypatch.setattr("sdsr.batch.engine._BUCKET_PATIENCE_S", 0.0)


def test_a_result_that_a_killed_process_could_not_note_is_made_again(
    bucket: fsspec.AbstractFileSystem, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, _ = plan_bucket(PLACES, Naming(request=TWICE.request))
    desk, theirs = opened(upscaler)
    assert [isinstance(open_task(task, desk), Opened) for task in tasks[:2]] == [True, True]
    bucket.pipe_file("/bucket/out/a.jpg", b"uploaded and not noted")
    assert statuses(run(upscaler, limit=2)).keys() == {"broken.jpg", "sub/[ab]#*?.png", "sub/b.png"}, (
        "a living one keeps"
    )
    killed(theirs, monkeypatch)
    found = run(upscaler)
    assert [found[name].again for name in ("a.jpg", "a.png")] == ["it was cut off before it was noted", None]
    assert statuses(found) == DONE | {"sub/b.png": "skipped", "sub/[ab]#*?.png": "skipped"}
    assert not bucket.exists(f"/bucket/out/{FOLDER}"), "nor what the dead left"
    theirs._leases._heartbeat = None
    desk.close()


def test_what_was_there_before_a_killed_process_is_not_taken_for_its_result(
    bucket: fsspec.AbstractFileSystem, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe_file("/bucket/out/a.jpg", b"somebody's work")
    tasks, _ = plan_bucket(PLACES, Naming(request=TWICE.request))
    desk, theirs = opened(upscaler)
    assert theirs.take(tasks[0], "0" * 64) is not None
    killed(theirs, monkeypatch)
    assert "exists already" in (run(upscaler)["a.jpg"].error or "")
    assert bucket.cat_file("/bucket/out/a.jpg") == b"somebody's work"
    theirs._leases._heartbeat = None
    desk.close()


def test_one_that_slept_leaves_what_was_taken_over(bucket: fsspec.AbstractFileSystem) -> None:
    one, other = (Leases(Store(PLACES.results)) for _ in range(2))
    lease = one.take("a.png", "0" * 64, None)
    assert lease is not None
    assert lease.holds()
    other.store.remove(f"{FOLDER}/{one.token}.alive")
    assert (taken := other.take("a.png", "0" * 64, None)) is not None
    assert not lease.holds()
    lease.release()
    assert taken.holds(), "what the other has is not released"
    for each in (one, other):
        each.close()


def test_one_that_is_known_to_be_dead_is_not_watched(bucket: fsspec.AbstractFileSystem) -> None:
    gone, heir = (Leases(Store(PLACES.results)) for _ in range(2))
    lease = gone.take("a.png", "0" * 64, None)
    assert lease is not None
    silence(gone)
    assert heir.take("a.png", "0" * 64, None) is None
    bury(heir, gone.token)
    taken = heir.take("a.png", "0" * 64, None)
    assert taken is not None
    assert not lease.holds(), "should it live after all, it leaves what was taken over"
    taken.release()
    for each in (gone, heir):
        each.close()
    assert not bucket.exists(f"/bucket/out/{FOLDER}"), "nor is anything left of it"


def test_a_result_just_made_by_other_settings_is_not_fought_over(
    bucket: fsspec.AbstractFileSystem, upscaler: Upscaler
) -> None:
    tasks, _ = plan_bucket(PLACES, Naming(request=TWICE.request))
    list(outcomes(upscaler, Settings(request=Request(scale=3.0))))
    (path,) = bucket.glob("/bucket/out/.sdsr-manifests/*.jsonl")
    both = bucket.cat_file(path)
    bucket.pipe_file(path, b"".join(line for line in both.splitlines(keepends=True) if b"a.png" not in line))
    earlier = notes("opened when a.jpg was noted")
    bucket.pipe_file(path, both)  # as its owner writes it anew
    earlier.refresh()
    assert [earlier.noted_since(name) for name in ("a.jpg", "a.png")] == [False, True]
    bucket.rm("/bucket/out", recursive=True)
    desk, _ = opened(upscaler)
    run(upscaler, Settings(request=Request(scale=3.0)), limit=1)
    found = open_task(tasks[0], desk)
    assert isinstance(found, Outcome)
    assert "by another process just now, by other settings" in (found.error or "")
    desk.close()
    assert run(upscaler, limit=1)["a.jpg"].again == "settings or weights changed", "one of an earlier run is"


@pytest.mark.parametrize("junk", [b"", b"[]", b"{}", b"[" * 100_000, b'{"token": 1', b"\xff"])
def test_whatever_else_is_where_leases_and_notes_are_is_passed_over(
    bucket: fsspec.AbstractFileSystem, junk: bytes
) -> None:
    bucket.pipe_file("/bucket/out/.sdsr-manifests/other.jsonl", junk + b"\n")
    assert not notes("own").entries
    one = Leases(Store(PLACES.results))
    lease = one.take("a.png", "0" * 64, None)
    assert lease is not None
    bucket.pipe_file(f"/bucket/out/{FOLDER}/{lease.key}.1", junk)
    assert not lease.holds()
    other = Leases(Store(PLACES.results))
    taken = other.take("a.png", "0" * 64, None)
    assert taken is not None
    assert not any(isinstance(owner, Intent) for owner in taken.before), "what nobody knows replaced nothing"
    taken.release()
    for each in (one, other):
        each.close()
    assert not bucket.exists(f"/bucket/out/{FOLDER}")


def test_the_living_of_a_later_version_live(bucket: fsspec.AbstractFileSystem) -> None:
    one, other = (Leases(Store(PLACES.results)) for _ in range(2))
    lease = one.take("a.png", "0" * 64, None)
    assert lease is not None
    path = f"/bucket/out/{FOLDER}/{lease.key}.1"
    bucket.pipe_file(path, json.dumps(json.loads(bucket.cat_file(path)) | {"more": [1]}).encode())
    assert other.take("a.png", "0" * 64, None) is None
    assert lease.holds()
    lease.release()
    for each in (one, other):
        each.close()


def test_a_store_that_cannot_tell_who_was_first_asks_for_shards(
    bucket: fsspec.AbstractFileSystem, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Store.create
    monkeypatch.setattr(Store, "create", lambda store, name, data: create(store, name, data) or True)
    with pytest.raises(InputError, match="--shard K/N, 1/1"):
        run(upscaler)
    done: set[str] = set()
    for number in (1, 2):
        tasks, found = plan_bucket(PLACES, Naming(request=TWICE.request), alone=True)
        ours = Shard(number=number, count=2).of(tasks)
        batch = Batch(tasks=ours, model=model_of(upscaler), settings=TWICE, bucket=found)
        done |= {outcome.output for outcome in process(batch)}
    assert len(done) == len(DONE)


def test_the_manifest_of_a_folder_that_was_copied_there_counts(
    bucket: fsspec.AbstractFileSystem, tree: Path, upscaler: Upscaler
) -> None:
    out = tree.parent / "out"
    tasks = plan([tree], Naming(request=TWICE.request), output=out)
    list(process(Batch(tasks=tasks, model=model_of(upscaler), settings=TWICE)))
    for name in ("a.jpg", "a.png", NAME):
        bucket.pipe_file(f"/bucket/out/{name}", (out / name).read_bytes())
    assert statuses(run(upscaler)) == DONE | {"a.jpg": "skipped", "a.png": "skipped"}


def test_notes_go_on_in_another_object_when_one_is_full(
    bucket: fsspec.AbstractFileSystem, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdsr.batch.bucket.journal.MOST_BYTES", 100)
    run(upscaler)
    assert len(bucket.find("/bucket/out/.sdsr-manifests")) == 4
    assert "sub/b.png" in notes("another").entries


def test_names_that_are_no_paths_are_passed_over(
    bucket: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listed = Store.listed
    # ones that begin with a dot are hidden files anyway
    strange = dict.fromkeys(("../a.png", "a//b.png", "./a.png", "/a.png", "a.png\0.png"), Seen(size=1, version="1"))
    monkeypatch.setattr(Store, "listed", lambda store: listed(store) | strange)
    monkeypatch.setattr(logging.getLogger("sdsr"), "propagate", True)
    tasks, _ = plan_bucket(PLACES, Naming(request=TWICE.request))
    assert {task.name for task in tasks} == DONE.keys()
    assert "3 objects have names that are no paths" in caplog.text


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://host/photos", "can't be listed"),
        ("simplecache::s3://bucket", "can't be listed"),
        ("nosuch://bucket", "of no known protocol"),
    ],
)
def test_urls_that_cannot_be_are_told(url: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Store(url)


def test_without_fsspec_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(InputError, match=r"pip install 'sdsr\[bucket\]'"):
        Store("s3://bucket/photos")


@pytest.mark.parametrize(
    ("photos", "output"),
    [("s3:/bucket/a", "out"), ("in", "s3:/bucket/a"), ("s3:/bucket/a", None), ("s3:/b/a", "s3:/b/a")],
)
def test_photos_and_results_are_both_in_buckets_or_both_files(photos: str, output: str | None) -> None:
    with pytest.raises(InputError, match=r"must b(oth be URLs|e another folder)|name a folder of a bucket with -o"):
        Places.of([Path(photos)], output if output is None else Path(output))


def test_tasks_are_those_of_a_folder(bucket: fsspec.AbstractFileSystem, tree: Path) -> None:
    naming = Naming(request=TWICE.request, format="JPEG")
    (tree / "sub" / "[ab]#*?.png").write_bytes((tree / "a.png").read_bytes())
    of_folder = plan([tree], Naming(request=TWICE.request, format="JPEG"), output=tree.parent / "out")
    of_bucket, _ = plan_bucket(PLACES, naming)

    def names(tasks: list[Task]) -> list[tuple[str, str]]:
        return [(task.name, task.target.relative_to(task.root or "").as_posix()) for task in tasks]

    assert names(of_bucket) == names(of_folder)
