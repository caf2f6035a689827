"""A bucket of results: each photo is fetched to a file, its result written to one, uploaded and noted.

Several processes may share a bucket by leases, where its driver makes objects only where none is.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sdsr.batch.bucket.journal import BucketJournal
from sdsr.batch.bucket.leases import Intent, Leases
from sdsr.batch.bucket.planning import Bucket
from sdsr.batch.bucket.store import Seen, Store
from sdsr.batch.entries import Work
from sdsr.batch.items import Mark
from sdsr.batch.leasing import FOLDER, Lease, bury
from sdsr.batch.manifest import Manifest, State
from sdsr.batch.naming import fitted
from sdsr.batch.results import Pair
from sdsr.batch.walking import Task
from sdsr.errors import InputError, SdsrError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """An object, what the store told of it, and where its copy is, or is fetched to when it is needed."""

    store: Store
    name: str
    seen: Seen | None
    copy: Path = Path()

    def is_there(self) -> bool:
        return self.seen is not None

    def mark(self) -> Mark | None:
        return None if self.seen is None else self.seen.version

    def fits(self, mark: Mark) -> bool:
        return self.seen is not None and self.seen.version == mark

    def file(self) -> Path:
        if not self.copy.exists():
            try:
                self.store.fetch(self.name, self.copy)
            except FileNotFoundError as error:
                raise _gone(self) from error
        return self.copy


class BucketResults:
    """Results in a bucket; copies are in a folder of the system's temporary one."""

    def __init__(self, bucket: Bucket, token: str) -> None:
        self._bucket = bucket
        self._photos = Store(bucket.places.photos)
        self._results = Store(bucket.places.results)
        self._leases = Leases(self._results, token)
        self.manifest = Manifest(BucketJournal(self._results, token))
        self._listed = self._results.listed() if bucket.photos else {}
        self._stage = Path(tempfile.mkdtemp(prefix="sdsr-bucket-"))
        self._numbers = count()

    def check_shared(self) -> None:
        if not self._bucket.alone and not self._results.exclusive(f"{FOLDER}/{self._leases.token}.probe"):
            raise InputError(
                f"{self._results.url} can't make an object only where none is, so that processes can't share it; give "
                "each a part of its own with --shard K/N, 1/1 for one that is alone."
            )

    def glance(self, task: Task, settings_sha256: str, *, read: bool) -> State:
        if read:
            return "unknown"
        photo = Object(store=self._photos, name=task.name, seen=self._bucket.photos.get(task.name))
        name = task.result_name
        result = Object(store=self._results, name=name, seen=self._listed.get(name))
        return self.manifest.known(photo, result, settings_sha256)

    def take(self, task: Task, settings_sha256: str) -> Lease | None:
        before = self._results.seen(task.result_name)
        return self._leases.take(task.result_name, settings_sha256, before and before.version)

    def open(self, task: Task, lease: Lease, held: ExitStack) -> Pair:
        """Return what the store tells of photo and result now; raise InputError where there is no photo any more."""
        folder = self._stage / f"{next(self._numbers):09d}"
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "result").mkdir(parents=True)
        name = task.result_name
        copy = folder / fitted(folder, task.source.stem, task.source.suffix)
        photo = Object(store=self._photos, name=task.name, seen=self._photos.seen(task.name), copy=copy)
        if photo.seen is None:
            raise _gone(photo)
        result = Object(store=self._results, name=name, seen=self._results.seen(name), copy=folder / "result" / "there")
        cut_off = False
        if result.seen is not None and not self._shown(result):  # made since
            self.manifest.refresh()
            replaced = [each.replaces for each in lease.before if isinstance(each, Intent)]
            cut_off = not self._shown(result) and any(version != result.seen.version for version in replaced)
        target = folder / "result" / fitted(folder, task.target.stem, task.target.suffix)
        return Pair(photo=photo, result=result, target=target, cut_off=cut_off)

    def state(self, pair: Pair, settings_sha256: str, *, read: bool) -> State:
        state = self.manifest.state(pair.photo, pair.result, settings_sha256, read=read)
        if pair.cut_off and state in ("unknown", "changed"):
            return "cut off"
        return "not ours" if state == "unknown" and pair.result.is_there() else state

    @contextmanager
    def writing(self, pair: Pair, work: Work) -> Iterator[None]:
        """Upload and note a result that is written; that it will be, its lease tells."""
        yield
        name = pair.result.name
        seen = self._results.upload(pair.target, name)
        self.manifest.finish(Object(store=self._results, name=name, seen=seen, copy=pair.target), work)

    def bury(self, token: str) -> None:
        try:
            bury(self._leases, token)
        except SdsrError as error:  # of a network that is away; then it is watched
            log.warning("%s", error)

    def close(self) -> None:
        self.manifest.close()
        try:
            self._leases.close()
        except SdsrError as error:  # of a network that is away
            log.warning("%s", error)
        shutil.rmtree(self._stage, ignore_errors=True)

    def _shown(self, result: Object) -> bool:
        return any(entry.shows(result) for entry in self.manifest.noted(result.name))


def _gone(photo: Object) -> InputError:
    return InputError(f"{photo.store.url_to(photo.name)} isn't there any more; list the photos anew.")
