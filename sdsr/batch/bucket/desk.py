"""What the photos of a bucket share while they are worked on, and which of them are finished."""

import logging
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from sdsr import __version__
from sdsr.batch.bucket.leases import Leases
from sdsr.batch.bucket.notes import Note, Notes
from sdsr.batch.bucket.planning import Bucket, Places, target_name
from sdsr.batch.bucket.store import Seen, Store
from sdsr.batch.desk import Desk
from sdsr.batch.leasing import FOLDER, Lease
from sdsr.batch.outcome import Kind, Outcome
from sdsr.batch.settling import failed, outcome
from sdsr.batch.walking import Task
from sdsr.errors import InputError, SdsrError

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class Fetched:
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
    at_work: dict[str, Fetched] = field(default_factory=dict)
    settled: "deque[Outcome]" = field(default_factory=deque)
    busy: list[Task] = field(default_factory=list)

    @classmethod
    def open(cls, places: Places, local: Desk) -> "BucketDesk":
        """Return the desk of a bucket; what is restored here, of copies, is restored at a `local` one."""
        results = Store(places.results)
        leases = Leases(results, local.token)
        return cls(
            places=places,
            local=local,
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
        return note is not None and self.ours(note) and note.fits(result) and _same(note, photo) and not self.reads

    def skipped(self, task: Task) -> Outcome:
        return self.named(outcome(task, self.local, "skipped"), task)

    def close(self) -> None:
        """Let go of all, and remove what was copied."""
        for fetched in list(self.at_work.values()):
            self.let_go(fetched)
        try:
            self.leases.close()
        except SdsrError as error:  # of a network that is away
            log.warning("%s", error)
        self.local.close()
        shutil.rmtree(self.stage, ignore_errors=True)

    def let_go(self, fetched: Fetched) -> None:
        self.at_work.pop(str(fetched.copy), None)
        self.remove(fetched.lease, fetched.folder)

    def remove(self, lease: Lease, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        lease.release()

    @property
    def reads(self) -> bool:
        return self.local.settings.on_exists == "verify"

    def ours(self, note: Note) -> bool:
        """Whether the note is of these settings, and of a version that counts."""
        another = self.local.settings.on_exists == "replace" and note.version != __version__
        return note.settings_sha256 == self.local.settings_sha256 and not another

    def failed(self, task: Task, kind: Kind, error: str) -> Outcome:
        return self.named(failed(task, self.local, kind, error), task)

    def named(self, outcome: Outcome, task: Task) -> Outcome:
        """Return an outcome of the objects, not of their copies."""
        return replace(outcome, input=self.photos.url_to(task.name), output=self.results.url_to(target_name(task)))


def _same(note: Note, photo: Seen | None) -> bool:
    return photo is not None and note.input_version is not None and note.input_version == photo.version
