"""Where results go: into a folder, or a bucket (`sdsr.batch.bucket.results`), which the desk takes for the same."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sdsr.batch.claims import Claims
from sdsr.batch.entries import Work
from sdsr.batch.items import File, Item
from sdsr.batch.journal import manifest_of
from sdsr.batch.leasing import Lease, bury
from sdsr.batch.manifest import Manifest, State
from sdsr.batch.walking import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A photo, its result, and the file that this is written to.

    `cut_off`: what is there was written by a process that died, and is not noted.
    """

    photo: Item
    result: Item
    target: Path
    cut_off: bool = False

    @classmethod
    def of(cls, task: Task) -> "Pair":
        """Return the files of a task."""
        return cls(photo=File(task.photo), result=File(task.result, task.result_name), target=task.target)


class Results(Protocol):
    """A folder of results, or a bucket of them, and what of it is this process's."""

    manifest: Manifest

    def check_shared(self) -> None:
        """Raise InputError where two processes could take one photo, and nothing was said that forbids it."""
        ...

    def glance(self, task: Task, settings_sha256: str, *, read: bool) -> State:
        """Return what is known of a task's result while it is nobody's; a bucket's is not read for that."""
        ...

    def take(self, task: Task, settings_sha256: str) -> Lease | None:
        """Return the lease on a task's result; None while another process has it. Raises OutputError."""
        ...

    def open(self, task: Task, lease: Lease, held: ExitStack) -> Pair:
        """Return the photo and the result of a lease; `held` ends what is made for them."""
        ...

    def state(self, pair: Pair, settings_sha256: str, *, read: bool) -> State:
        """Return what is known of the result now."""
        ...

    def writing(self, pair: Pair, work: Work) -> AbstractContextManager[None]:
        """Note that a result will be written; when the block ends well, bring it where it belongs, and note it."""
        ...

    def bury(self, token: str) -> None:
        """Let a process that is known to be dead be taken for dead by all at once, without being watched for long."""
        ...

    def close(self) -> None:
        """Leave all in order for the next run; more than once if need be."""
        ...


class FolderResults:
    """A folder of results."""

    def __init__(self, root: Path, token: str) -> None:
        self.manifest = manifest_of(root)
        self._claims = Claims(root, token=token)

    def check_shared(self) -> None:
        """It always can be."""

    def glance(self, task: Task, settings_sha256: str, *, read: bool) -> State:
        return self.manifest.state(File(task.photo), File(task.result, task.result_name), settings_sha256, read=read)

    def take(self, task: Task, settings_sha256: str) -> Lease | None:
        return self._claims.take(task.result_name)

    def open(self, task: Task, lease: Lease, held: ExitStack) -> Pair:
        from sdsr.photos.parts import remove_parts

        self.manifest.refresh()
        if self.manifest.interrupted(task.result_name) or task.target.exists():  # whoever was writing it is dead
            remove_parts(task.target)
        return Pair.of(task)

    def state(self, pair: Pair, settings_sha256: str, *, read: bool) -> State:
        return self.manifest.state(pair.photo, pair.result, settings_sha256, read=read)

    @contextmanager
    def writing(self, pair: Pair, work: Work) -> Iterator[None]:
        self.manifest.begin(pair.result, work)
        yield
        self.manifest.finish(pair.result, work)

    def bury(self, token: str) -> None:
        bury(self._claims, token)

    def close(self) -> None:
        self.manifest.close()
        self._claims.remove_abandoned()
        self._claims.close()
