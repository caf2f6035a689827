"""A photo of a bucket on its way: fetched with its lease, unless it is finished; its result uploaded and noted."""

import logging
import time
from dataclasses import replace
from pathlib import Path

from sdsr.batch import again
from sdsr.batch.bucket.desk import BucketDesk, Fetched
from sdsr.batch.bucket.leases import Intent
from sdsr.batch.bucket.notes import Note
from sdsr.batch.bucket.planning import target_name
from sdsr.batch.bucket.store import Seen
from sdsr.batch.leasing import Lease
from sdsr.batch.manifest import State
from sdsr.batch.naming import fitted
from sdsr.batch.outcome import Outcome, kind_of
from sdsr.batch.walking import Task
from sdsr.digests import file_sha256
from sdsr.errors import InputError, SdsrError

log = logging.getLogger(__name__)

_CUT_OFF = "it was cut off before it was noted"


def fetch(desk: BucketDesk, task: Task) -> Fetched | None:
    """Return a photo's copy with its lease; None where it is settled, or another process has it."""
    name = target_name(task)
    seen = desk.photos.seen(task.name)
    if seen is None:
        raise InputError(f"{desk.photos.url_to(task.name)} isn't there any more; list the photos anew.")
    before = desk.results.seen(name)
    lease = desk.leases.take(name, desk.local.settings_sha256, before and before.version)
    if lease is None:
        desk.busy.append(task)
        return None
    folder = desk.stage / f"{next(desk.numbers):09d}"
    try:
        fetched = _copied(desk, task, seen, lease, folder)
    except BaseException:
        desk.remove(lease, folder)
        raise
    if fetched is None:
        desk.remove(lease, folder)
        desk.settled.append(desk.skipped(task))
    return fetched


def _copied(desk: BucketDesk, task: Task, seen: Seen, lease: Lease, folder: Path) -> Fetched | None:
    """Return a copy, unless the photo is finished by now. Raises OutputError for a result that isn't ours."""
    name = target_name(task)
    result = desk.results.seen(name)
    note = desk.notes.of(name, result)
    if result is not None and (note is None or not note.fits(result)):  # made since
        desk.notes.refresh()
        note = desk.notes.of(name, result)
    if desk.finished(task, seen, result):
        return None
    copy = folder / fitted(folder, task.source.stem, task.source.suffix)
    (folder / "result").mkdir(parents=True)
    try:
        desk.photos.fetch(task.name, copy)
    except FileNotFoundError as error:
        raise InputError(f"{desk.photos.url_to(task.name)} isn't there any more; list the photos anew.") from error
    reason = _reason(desk, task, note, seen, result, lease, copy)
    if reason == "":
        return None
    return Fetched(task=task, folder=folder, copy=copy, seen=seen, lease=lease, again=reason, seconds=0.0)


def _reason(
    desk: BucketDesk, task: Task, note: Note | None, seen: Seen, result: Seen | None, lease: Lease, copy: Path
) -> str | None:
    """Return why a result is made again; None for one that never was, "" for one that is finished after all."""
    name = target_name(task)
    if result is None:
        return None if note is None or note.output_sha256 is None else again.GONE
    if any(isinstance(each, Intent) and each.replaces != result.version for each in lease.before) and not (
        note and note.fits(result)
    ):
        return _CUT_OFF
    if note is None and desk.local.settings.overwrite:
        return "it was not known as ours"
    if note is None:
        raise again.exists(desk.results.url_to(name))
    if note.output_sha256 is None:
        return _CUT_OFF
    state = _state(desk, name, note, result, copy)
    if state == "finished":
        versions = {"input_version": seen.version, "output_version": result.version}
        desk.notes.add({name: replace(note, **versions, at=time.time())})
        return ""
    return again.reason(
        state,
        desk.results.url_to(name),
        on_exists=desk.local.settings.on_exists,
        begun=False,
        noted_since=desk.notes.noted_since(name),
    )


def _state(desk: BucketDesk, name: str, note: Note, result: Seen, copy: Path) -> State:
    """Return what is known of a result that is noted and there; it is read where its version doesn't tell."""
    output_sha256 = note.output_sha256
    if desk.reads or not note.fits(result):
        output_sha256 = _result_sha256(desk, name, copy.parent)
    if note.output_sha256 != output_sha256:
        return "changed"
    if note.settings_sha256 != desk.local.settings_sha256:
        return "other settings"
    if note.input_sha256 != file_sha256(copy):
        return "another photo"
    return "finished" if desk.ours(note) else "another version"


def settle(desk: BucketDesk, fetched: Fetched, outcome: Outcome) -> Outcome | None:
    """Upload and note a result; return what became of the photo, None where another process took it over."""
    begun = time.perf_counter()
    task = fetched.task
    try:
        if outcome.status == "done":
            if not fetched.lease.holds():
                log.warning("%s was taken over by another process while this one slept.", task.name)
                desk.busy.append(task)
                return None
            _upload(desk, fetched, Path(outcome.output))
    except SdsrError as error:
        return replace(desk.failed(task, kind_of(error), str(error)), seconds=outcome.seconds)
    finally:
        desk.let_go(fetched)
    seconds = round(fetched.seconds + outcome.seconds + time.perf_counter() - begun, 3)
    reason = fetched.again if outcome.status == "done" else None
    return replace(desk.named(outcome, task), again=reason, seconds=seconds)


def _upload(desk: BucketDesk, fetched: Fetched, result: Path) -> None:
    name = target_name(fetched.task)
    seen = desk.results.upload(result, name)
    note = Note(
        input_sha256=file_sha256(fetched.copy),
        settings_sha256=desk.local.settings_sha256,
        output_sha256=file_sha256(result),
        input_version=fetched.seen.version,
        output_version=seen.version,
    )
    desk.notes.add({name: note})


def _result_sha256(desk: BucketDesk, name: str, folder: Path) -> str:
    path = folder / "result" / "there"
    desk.results.fetch(name, path)
    try:
        return file_sha256(path)
    finally:
        path.unlink()
