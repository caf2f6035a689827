"""Photos of a bucket: each is fetched, restored here, uploaded and noted; one while the next is fetched.

What restores them is what restores files (`sdsr.batch.engine`), on copies that are removed when they were used. Several
processes may share a bucket by leases, where its driver makes objects only where none is.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from sdsr.batch.bucket.copies import fetch, settle
from sdsr.batch.bucket.desk import BucketDesk
from sdsr.batch.bucket.planning import Bucket
from sdsr.batch.desk import Desk
from sdsr.batch.engine import work
from sdsr.batch.model import Model
from sdsr.batch.naming import fitted
from sdsr.batch.outcome import Outcome, kind_of
from sdsr.batch.settings import Settings
from sdsr.batch.waiting import in_rounds
from sdsr.batch.walking import Task
from sdsr.errors import SdsrError

_PATIENCE_S = 2.0  # between looks at photos of others, at first; each takes requests
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
    desk = BucketDesk.open(bucket.places, Desk(model=model, settings=settings))
    try:
        left: list[Task] = []
        for task, outcome in desk.passed(tasks, bucket):
            if outcome is None:
                left.append(task)
            else:
                yield outcome
        if left:
            desk.check_shared(alone=bucket.alone)
            yield from work_bucket(desk, left, on_progress=on_progress, on_size=on_size, limit=limit)
    finally:
        desk.close()


def work_bucket(
    desk: BucketDesk,
    tasks: Sequence[Task],
    *,
    on_progress: Callable[[Task, float], None],
    on_size: Callable[[Task, int], None] | None = None,
    limit: int | None = None,
) -> Iterator[Outcome]:
    """Restore photos, those of other processes in the end, if they leave them."""
    restored = 0

    def look(waiting: Iterable[Task]) -> Iterator[Outcome | Task]:
        nonlocal restored
        if desk.busy:
            desk.notes.refresh()
        desk.busy = []
        for outcome in _pass(desk, waiting, on_progress, on_size, None if limit is None else limit - restored):
            restored += outcome.status == "done"
            yield outcome
        yield from desk.busy

    yield from in_rounds(tasks, look, enough=lambda: restored == limit, patience_s=_PATIENCE_S)


def _pass(
    desk: BucketDesk,
    tasks: Iterable[Task],
    on_progress: Callable[[Task, float], None],
    on_size: Callable[[Task, int], None] | None,
    limit: int | None,
) -> Iterator[Outcome]:
    """Yield what becomes of tasks, of those that another process has nothing."""

    def original(staged: Task) -> Task:
        return desk.at_work[staged.photo].task

    outcomes = work(
        _staged(desk, tasks),
        desk.local,
        on_progress=lambda staged, share: on_progress(original(staged), share),
        on_size=None if on_size is None else lambda staged, pixels: on_size(original(staged), pixels),
        limit=limit,
    )
    waiting: deque[Future[Outcome | None]] = deque()
    with ThreadPoolExecutor(1, "sdsr-uploader") as uploader, closing(outcomes):
        for outcome in outcomes:
            fetched = desk.at_work[outcome.input]
            waiting.append(uploader.submit(settle, desk, fetched, outcome))
            while waiting and (len(waiting) > _MOST_WAITING or waiting[0].done()):
                yield from filter(None, [waiting.popleft().result()])
            while desk.settled:
                yield desk.settled.popleft()
        for future in waiting:
            yield from filter(None, [future.result()])
    while desk.settled:
        yield desk.settled.popleft()


def _staged(desk: BucketDesk, tasks: Iterable[Task]) -> Iterator[Task]:
    """Yield the tasks of copies, one fetched when it is asked for; what needs none is settled."""
    for task in tasks:
        begun = time.perf_counter()
        try:
            fetched = fetch(desk, task)
        except (SdsrError, OSError) as error:
            said = str(error) if isinstance(error, SdsrError) else f"{task.name} can't be copied ({error.strerror})."
            desk.settled.append(desk.failed(task, kind_of(error), said))
            continue
        if fetched is None:
            continue
        fetched.seconds = time.perf_counter() - begun
        desk.at_work[str(fetched.copy)] = fetched
        target = fetched.folder / "result" / fitted(fetched.folder, task.target.stem, task.target.suffix)
        yield Task.of(fetched.copy, target, name=task.name)
