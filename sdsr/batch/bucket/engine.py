"""Photos of a bucket: each is fetched, restored here, uploaded and noted; one while the next is fetched.

What restores them is what restores files (`sdsr.batch.engine`), on copies that are removed when they were used. Several
processes may share a bucket by leases, where its driver makes objects only where none is.
"""

import logging
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from sdsr.batch.bucket.leases import Lease, Leases
from sdsr.batch.bucket.notes import Note, Notes
from sdsr.batch.bucket.planning import Bucket, Places, target_name
from sdsr.batch.bucket.store import Seen, Store
from sdsr.batch.claims import FOLDER
from sdsr.batch.desk import Desk
from sdsr.batch.engine import work
from sdsr.batch.model import Model
from sdsr.batch.naming import fitted
from sdsr.batch.outcome import Kind, Outcome, kind_of
from sdsr.batch.settings import Settings
from sdsr.batch.settling import failed, skipped
from sdsr.batch.walking import Task
from sdsr.digests import file_sha256
from sdsr.errors import InputError, OutputError, SdsrError

log = logging.getLogger(__name__)

_PATIENCE_S = 2.0  # between looks at photos of others
_CUT_OFF = "it was cut off before it was noted"
_MOST_WAITING = 1  # results on disk that wait to be uploaded


def process_bucket(
    tasks: Sequence[Task],
    bucket: Bucket,
    model: Model,
    settings: Settings,
    *,
    on_progress: Callable[[Task, float], None],
    on_size: Callable[[Task, int], None] | None = None,
    limit: int | None = None,
) -> Iterator[Outcome]:
    """Restore the photos of a bucket and yield what became of each; see `sdsr.batch.engine.process`.

    Raises InputError where processes can't share the bucket and this one doesn't say that its part is its own.
    """
    desk = BucketDesk.open(bucket.places, model, settings)
    try:
        left: list[Task] = []
        for task, outcome in desk.passed(tasks, bucket):
            if outcome is None:
                left.append(task)
            else:
                yield outcome
        if left:
            desk.check_shared(alone=bucket.alone)
            yield from desk.work(left, on_progress=on_progress, on_size=on_size, limit=limit)
    finally:
        desk.close()


@dataclass(slots=True, kw_only=True, eq=False)
class _Fetched:
    """A photo at work: its copy in a folder of its own, what the store told of it, its lease, and its time so far."""

    task: Task
    folder: Path
    copy: Path
    seen: Seen
    lease: Lease
    again: str | None
    seconds: float


@dataclass(slots=True, kw_only=True)
class BucketDesk:
    """What the photos of a bucket share while they are worked on."""

    places: Places
    local: Desk
    photos: Store
    results: Store
    leases: Leases
    notes: Notes
    stage: Path
    numbers: Iterator[int] = field(default_factory=count)
    at_work: dict[str, _Fetched] = field(default_factory=dict)
    settled: "deque[Outcome]" = field(default_factory=deque)
    busy: list[Task] = field(default_factory=list)

    @classmethod
    def open(cls, places: Places, model: Model, settings: Settings) -> "BucketDesk":
        results = Store(places.results)
        leases = Leases(results)
        return cls(
            places=places,
            local=Desk(model=model, settings=settings),
            photos=Store(places.photos),
            results=results,
            leases=leases,
            notes=Notes(results, leases.token),
            stage=Path(tempfile.mkdtemp(prefix="sdsr-bucket-")),
        )

    def check_shared(self, *, alone: bool) -> None:
        """Raise InputError where two processes could take one photo, and nothing was said that forbids it."""
        if not alone and not self.results.exclusive(f"{FOLDER}/{self.leases.token}.probe"):
            raise InputError(
                f"{self.results.url} can't make an object only where none is, so that processes can't share it; give "
                "each a part of its own with --shard K/N, 1/1 for one that is alone."
            )

    def passed(self, tasks: Sequence[Task], bucket: Bucket) -> Iterator[tuple[Task, Outcome | None]]:
        """Yield each task with its outcome if it is finished, by what listings tell."""
        results = self.results.listed()
        for task in tasks:
            finished = self.finished(task, bucket.photos[task.name], results.get(target_name(task)))
            yield task, self.skipped(task) if finished else None

    def finished(self, task: Task, photo: Seen | None, result: Seen | None) -> bool:
        """Whether a photo is finished, by the versions that the store tells of, with nothing read."""
        note = self.notes.of(target_name(task), result)
        return note is not None and self._ours(note) and note.fits(result) and _same(note, photo) and not self._reads

    def work(
        self,
        tasks: Sequence[Task],
        *,
        on_progress: Callable[[Task, float], None],
        on_size: Callable[[Task, int], None] | None = None,
        limit: int | None = None,
    ) -> Iterator[Outcome]:
        """Restore photos, those of other processes in the end, if they leave them."""
        waiting: Sequence[Task] = tasks
        restored = 0
        while waiting and restored != limit:
            self.busy = []
            for outcome in self._pass(waiting, on_progress, on_size, None if limit is None else limit - restored):
                restored += outcome.status == "done"
                yield outcome
            if self.busy and restored != limit:
                if len(waiting) == len(tasks):
                    log.info("waiting for %d photos that other processes are restoring.", len(self.busy))
                time.sleep(_PATIENCE_S)
                self.notes.refresh()
            waiting = self.busy

    def skipped(self, task: Task) -> Outcome:
        return self._named(skipped(task, self.local), task)

    def close(self) -> None:
        """Let go of all, and remove what was copied."""
        for fetched in list(self.at_work.values()):
            self._let_go(fetched)
        try:
            self.leases.close()
        except SdsrError as error:  # of a network that is away
            log.warning("%s", error)
        self.local.close()
        shutil.rmtree(self.stage, ignore_errors=True)

    def _pass(
        self,
        tasks: Iterable[Task],
        on_progress: Callable[[Task, float], None],
        on_size: Callable[[Task, int], None] | None,
        limit: int | None,
    ) -> Iterator[Outcome]:
        """Yield what becomes of tasks, of those that another process has nothing."""

        def original(staged: Task) -> Task:
            return self.at_work[str(staged.source)].task

        outcomes = work(
            self._staged(tasks),
            self.local,
            on_progress=lambda staged, share: on_progress(original(staged), share),
            on_size=None if on_size is None else lambda staged, pixels: on_size(original(staged), pixels),
            limit=limit,
        )
        waiting: deque[Future[Outcome | None]] = deque()
        with ThreadPoolExecutor(1, "sdsr-uploader") as uploader, closing(outcomes):
            for outcome in outcomes:
                fetched = self.at_work[outcome.input]
                waiting.append(uploader.submit(self._settle, fetched, outcome))
                while waiting and (len(waiting) > _MOST_WAITING or waiting[0].done()):
                    yield from filter(None, [waiting.popleft().result()])
                while self.settled:
                    yield self.settled.popleft()
            for future in waiting:
                yield from filter(None, [future.result()])
        while self.settled:
            yield self.settled.popleft()

    def _staged(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """Yield the tasks of copies, one fetched when it is asked for; what needs none is settled."""
        for task in tasks:
            begun = time.perf_counter()
            try:
                fetched = self._fetch(task)
            except (SdsrError, OSError) as error:
                said = (
                    str(error) if isinstance(error, SdsrError) else f"{task.name} can't be copied ({error.strerror})."
                )
                self.settled.append(self._failed(task, kind_of(error), said))
                continue
            if fetched is None:
                continue
            fetched.seconds = time.perf_counter() - begun
            self.at_work[str(fetched.copy)] = fetched
            target = fetched.folder / "result" / fitted(fetched.folder, task.target.stem, task.target.suffix)
            yield Task.of(fetched.copy, target, name=task.name)

    def _fetch(self, task: Task) -> _Fetched | None:
        """Return a photo's copy with its lease; None where it is settled, or another process has it."""
        name = target_name(task)
        seen = self.photos.seen(task.name)
        if seen is None:
            raise InputError(f"{self.photos.url_to(task.name)} isn't there any more; list the photos anew.")
        before = self.results.seen(name)
        lease = self.leases.take(name, self.local.settings_sha256, before and before.version)
        if lease is None:
            self.busy.append(task)
            return None
        folder = self.stage / f"{next(self.numbers):09d}"
        try:
            fetched = self._copied(task, seen, lease, folder)
        except BaseException:
            self._remove(lease, folder)
            raise
        if fetched is None:
            self._remove(lease, folder)
            self.settled.append(self.skipped(task))
        return fetched

    def _copied(self, task: Task, seen: Seen, lease: Lease, folder: Path) -> _Fetched | None:
        """Return a copy, unless the photo is finished by now. Raises OutputError for a result that isn't ours."""
        name = target_name(task)
        result = self.results.seen(name)
        note = self.notes.of(name, result)
        if result is not None and (note is None or not note.fits(result)):  # made since
            self.notes.refresh()
            note = self.notes.of(name, result)
        if self.finished(task, seen, result):
            return None
        copy = folder / fitted(folder, task.source.stem, task.source.suffix)
        (folder / "result").mkdir(parents=True)
        try:
            self.photos.fetch(task.name, copy)
        except FileNotFoundError as error:
            raise InputError(f"{self.photos.url_to(task.name)} isn't there any more; list the photos anew.") from error
        again = self._reason(task, note, seen, result, lease, copy)
        if again == "":
            return None
        return _Fetched(task=task, folder=folder, copy=copy, seen=seen, lease=lease, again=again, seconds=0.0)

    def _reason(
        self, task: Task, note: Note | None, seen: Seen, result: Seen | None, lease: Lease, copy: Path
    ) -> str | None:
        """Return why a result is made again; None for one that never was, "" for one that is finished after all."""
        name = target_name(task)
        if result is None:
            return None if note is None or note.output_sha256 is None else "its result was gone"
        if any(intent.replaces != result.version for intent in lease.before) and not (note and note.fits(result)):
            return _CUT_OFF
        if note is None and self.local.settings.overwrite:
            return "it was not known as ours"
        if note is None:
            raise OutputError(
                f"{self.results.url_to(name)} exists already; choose another folder, or say --on-exists replace."
            )
        if note.output_sha256 is None:
            return _CUT_OFF
        output_sha256 = note.output_sha256
        if self._reads or not note.fits(result):
            output_sha256 = self._result_sha256(name, copy.parent)
        if note.output_sha256 != output_sha256:
            if self.local.settings.on_exists != "skip":
                return "its result changed"
            raise OutputError(
                f"{self.results.url_to(name)} exists already, and isn't what was written there; choose --on-exists "
                "verify or replace to make it again, or another folder."
            )
        if note.settings_sha256 != self.local.settings_sha256:
            return "settings or weights changed"
        if note.input_sha256 != file_sha256(copy):
            return "the photo changed"
        if not self._ours(note):
            return "another version made it"
        versions = {"input_version": seen.version, "output_version": result.version}
        self.notes.add({name: replace(note, **versions, at=time.time())})
        return ""

    def _settle(self, fetched: _Fetched, outcome: Outcome) -> Outcome | None:
        """Upload and note a result; return what became of the photo, None where another process took it over."""
        begun = time.perf_counter()
        task = fetched.task
        try:
            if outcome.status == "done":
                if not fetched.lease.holds():
                    log.warning("%s was taken over by another process while this one slept.", task.name)
                    self.busy.append(task)
                    return None
                self._upload(fetched, Path(outcome.output))
        except SdsrError as error:
            return replace(self._failed(task, kind_of(error), str(error)), seconds=outcome.seconds)
        finally:
            self._let_go(fetched)
        seconds = round(fetched.seconds + outcome.seconds + time.perf_counter() - begun, 3)
        again = fetched.again if outcome.status == "done" else None
        return replace(self._named(outcome, task), again=again, seconds=seconds)

    def _upload(self, fetched: _Fetched, result: Path) -> None:
        name = target_name(fetched.task)
        seen = self.results.upload(result, name)
        note = Note(
            input_sha256=file_sha256(fetched.copy),
            settings_sha256=self.local.settings_sha256,
            output_sha256=file_sha256(result),
            input_version=fetched.seen.version,
            output_version=seen.version,
        )
        self.notes.add({name: note})

    def _result_sha256(self, name: str, folder: Path) -> str:
        path = folder / "result" / "there"
        self.results.fetch(name, path)
        try:
            return file_sha256(path)
        finally:
            path.unlink()

    def _let_go(self, fetched: _Fetched) -> None:
        self.at_work.pop(str(fetched.copy), None)
        self._remove(fetched.lease, fetched.folder)

    def _remove(self, lease: Lease, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            lease.release()
        except SdsrError as error:  # of a network that is away; it is free when this process ends
            log.warning("%s", error)

    @property
    def _reads(self) -> bool:
        return self.local.settings.on_exists == "verify"

    def _ours(self, note: Note) -> bool:
        """Whether the note is of these settings, and of a version that counts."""
        another = self.local.settings.on_exists == "replace" and note.version != _version()
        return note.settings_sha256 == self.local.settings_sha256 and not another

    def _failed(self, task: Task, kind: Kind, error: str) -> Outcome:
        return self._named(failed(task, self.local, kind, error), task)

    def _named(self, outcome: Outcome, task: Task) -> Outcome:
        """Return an outcome of the objects, not of their copies."""
        return replace(outcome, input=self.photos.url_to(task.name), output=self.results.url_to(target_name(task)))


def _same(note: Note, photo: Seen | None) -> bool:
    return photo is not None and note.input_version is not None and note.input_version == photo.version


def _version() -> str:
    from sdsr import __version__

    return __version__
