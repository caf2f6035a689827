"""The desk at which photos of a batch are worked on: opened, restored, written; and what became of each."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from sdsr.batch.alive import new_token
from sdsr.batch.manifest import State
from sdsr.batch.model import Model
from sdsr.batch.outcome import Kind, Outcome, Status, kind_of
from sdsr.batch.restoring import Beside
from sdsr.batch.results import FolderResults, Results
from sdsr.batch.settings import Settings, settings_sha256
from sdsr.batch.walking import Task
from sdsr.errors import SdsrError

if TYPE_CHECKING:
    from sdsr.batch.bucket.planning import Bucket
    from sdsr.jobs import JobMaker

T = TypeVar("T")


class LoadingError(Exception):
    """Wraps the error of a model that can't be loaded, which is no photo's."""

    def __init__(self, error: SdsrError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Photos to restore by one model, what is the same for all of them, and what is made `beside` each result.

    All of them are in one `bucket`, if any. No more than `limit` are restored.
    """

    tasks: Sequence[Task]
    model: Model
    settings: Settings
    beside: Beside | None = None
    bucket: "Bucket | None" = None
    limit: int | None = None


@dataclass(slots=True, kw_only=True)
class Desk:
    """What the photos of a batch share while they are worked on.

    `token` is what this process is called among those that share results.
    """

    batch: Batch
    token: str = field(default_factory=new_token)
    settings_sha256: str = ""
    loaded: "list[JobMaker]" = field(default_factory=list)
    opened: dict[Path, Results] = field(default_factory=dict)
    loading: Lock = field(default_factory=Lock)
    computing: Lock = field(default_factory=Lock)  # jobs of a model are run one after another

    def __post_init__(self) -> None:
        self.settings_sha256 = settings_sha256(self.batch.model, self.batch.settings)

    def maker(self) -> "JobMaker":
        """Return the model, loaded when it is needed first; raise LoadingError where it can't be."""
        with self.loading:
            try:
                if not self.loaded:
                    self.loaded.append(self.batch.model.load())
            except SdsrError as error:
                raise LoadingError(error) from error
            return self.loaded[0]

    def float32_maker(self) -> "JobMaker | None":
        """Return the model in full precision, loaded when it is needed first; None where it is so anyway."""
        if len(self.loaded) == 1 and (load := self.loaded[0].load_float32) is not None:
            self.loaded.append(load())
        return self.loaded[1] if len(self.loaded) > 1 else None

    def results(self, root: Path) -> Results:
        """Return the folder or bucket of results, opened when it is needed first."""
        if root not in self.opened and self.batch.bucket is not None:
            from sdsr.batch.bucket.results import BucketResults

            self.opened[root] = BucketResults(self.batch.bucket, self.token)
        elif root not in self.opened:
            self.opened[root] = FolderResults(root, self.token)
        return self.opened[root]

    @property
    def reads(self) -> bool:
        """Whether photos and results are read to know that they are as they were."""
        return self.batch.settings.on_exists == "verify"

    def needs_nothing(self, task: Task) -> bool:
        """Whether a photo is finished, with all that belongs beside it."""
        if task.root is None or self.results(task.root).manifest.interrupted(task.result_name):
            return False
        return self.seems_finished(task) and (self.batch.beside is None or self.batch.beside.is_there(task))

    def seems_finished(self, task: Task) -> bool:
        """Whether a result is finished, as far as can be told of one that is nobody's."""
        if task.root is None:
            return False
        return self.finished(self.results(task.root).glance(task, self.settings_sha256, read=self.reads))

    def finished(self, state: State) -> bool:
        return state == "finished" or (state == "another version" and self.batch.settings.on_exists != "replace")

    def outcome(self, task: Task, status: Status) -> Outcome:
        """Return the outcome of a photo that has come to this."""
        return Outcome(
            input=task.photo,
            output=task.result,
            status=status,
            model=self.batch.model.name,
            seed=self.batch.settings.request.seed,
        )

    def failed(self, task: Task, kind: Kind, error: str) -> Outcome:
        """Return the outcome of a photo that can't be restored."""
        return replace(self.outcome(task, "failed"), kind=kind, error=error)

    def reported(self, attempt: Callable[[], T], task: Task, begun: float) -> T | Outcome:
        """Return what an attempt gives, or the outcome of its failure; begun is when work on the photo began."""
        try:
            return attempt()
        except LoadingError as failure:
            raise failure.error from failure
        except SdsrError as error:
            kind = kind_of(error)
            said = str(error)
        except (OSError, UnicodeError) as error:  # of a name, or of a disk that goes away
            kind = kind_of(error)
            reason = getattr(error, "strerror", None) or error
            said = f"{task.source.name} can't be restored ({reason}); check its path."
        return replace(self.failed(task, kind, said), seconds=round(time.perf_counter() - begun, 3))

    def close(self) -> None:
        """Leave the results in order for the next run."""
        for results in self.opened.values():
            results.close()
