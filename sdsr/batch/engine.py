"""This machine as an engine: one model, photos one after another; a bad one is reported and the rest go on.

Several engines may work on one folder or bucket of results: each photo is restored by one of them. While one photo is
restored the next is read (fetched, of a bucket) and the last is written. Torch and decoders are loaded when the first
photo needs them, so that finding everything finished takes no time.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

from sdsr.batch.desk import Batch, Desk
from sdsr.batch.finishing import restore_opened, write_opened
from sdsr.batch.opening import Opened, open_task, skip_finished
from sdsr.batch.outcome import Outcome
from sdsr.batch.walking import Task

log = logging.getLogger(__name__)

_PATIENCE_S = 0.2  # between looks at photos of others, at first
_BUCKET_PATIENCE_S = 2.0  # where each takes requests
_MOST_PATIENCE_S = 5.0
_PASSED_AT_ONCE = 64  # photos that need nothing, looked at while one is restored

Settled = Outcome | None


def unheard(task: Task, told: float | int) -> None:
    """Let what is told of a task pass."""


def process(
    batch: Batch,
    *,
    on_progress: Callable[[Task, float], None] = unheard,
    on_size: Callable[[Task, int], None] = unheard,
) -> Iterator[Outcome]:
    """Restore the photos one after another and yield what became of each.

    In a folder of results, what is finished is skipped and what gets finished is noted; a photo that another process
    is restoring is left to it, and looked at again when there is nothing else to do. So it is with a bucket, of which
    all is yielded first that is finished. What belongs beside a result is made with it, or later where it is missing.
    `on_progress` hears of the share of each task that is done, `on_size` of the pixels that its result will have.
    Errors of the library and of the operating system are outcomes; where the model itself can't be loaded, that error
    is raised, and InputError where processes can't share the bucket and this one doesn't say that its part is its own.
    """
    with closing(Desk(batch=batch)) as desk:
        left = batch.tasks if batch.bucket is None else (yield from skip_finished(batch.tasks, desk))
        yield from work(left, desk, on_progress=on_progress, on_size=on_size)


def work(
    tasks: Iterable[Task],
    desk: Desk,
    *,
    on_progress: Callable[[Task, float], None] = unheard,
    on_size: Callable[[Task, int], None] = unheard,
) -> Generator[Outcome, None, None]:
    """Do what `process` does with some of a batch's tasks, at a desk, which keeps its model and stays open.

    Photos of other processes are passed over, and looked at again; where none was settled, after longer and longer.
    """
    patience_s = _PATIENCE_S if desk.batch.bucket is None else _BUCKET_PATIENCE_S
    wait_s = patience_s
    waiting = tasks
    with closing(_Line(desk=desk, on_progress=on_progress, on_size=on_size, left=desk.batch.limit)) as line:
        while line.left != 0:
            of_others: list[Task] = []
            advanced = False
            for task, outcome in line.run(waiting):
                if outcome is None:
                    of_others.append(task)
                else:
                    advanced = True
                    yield outcome
            if not of_others:
                return
            if waiting is tasks:
                log.info("waiting for %d photos that other processes are restoring.", len(of_others))
            elif not advanced:
                time.sleep(wait_s)
                wait_s = min(_MOST_PATIENCE_S, 1.5 * wait_s)
            if advanced:
                wait_s = patience_s
            waiting = of_others


@dataclass(slots=True, kw_only=True)
class _Line:
    """Three places that a photo passes: it is read, restored, and written, each beside another one's.

    The restoration is at the caller's thread. `left` is how many more may be restored.
    """

    desk: Desk
    on_progress: Callable[[Task, float], None]
    on_size: Callable[[Task, int], None]
    left: int | None
    reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "sdsr-reader"))
    writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "sdsr-writer"))
    ahead: "Future[list[tuple[Task, Settled | Opened]]] | None" = None
    written: "deque[tuple[Opened, Future[Settled]]]" = field(default_factory=deque)
    held: list[Opened] = field(default_factory=list)

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Settled]]:
        """Yield in order what becomes of each task, None where another process is at it."""
        rest = iter(tasks)
        while self.left != 0:
            arrived = self._next(rest)
            if not arrived:
                break
            for task, item in arrived:
                if isinstance(item, Opened):
                    yield from self._restored(item, rest)
                    continue
                yield from self._finished()
                if item is not None:
                    self.on_progress(task, 1.0)
                yield task, item
        yield from self._finished()

    def close(self) -> None:
        """Let what is being written be finished, and everything else go."""
        if self.ahead is not None and not self.ahead.cancel():
            arrived = [] if self.ahead.exception() else self.ahead.result()
            self.held += [item for _, item in arrived if isinstance(item, Opened)]
        self.reader.shutdown(cancel_futures=True)
        self.writer.shutdown()
        for opened in self.held:
            opened.let_go()

    def _next(self, rest: Iterator[Task]) -> "list[tuple[Task, Settled | Opened]]":
        """Return what was looked at ahead, or else look at one task now."""
        if self.ahead is not None:
            ahead = self.ahead
            self.ahead = None
            return ahead.result()
        for task in rest:
            self.on_progress(task, 0.0)
            return [(task, open_task(task, self.desk))]
        return []

    def _restored(self, opened: Opened, rest: Iterator[Task]) -> Iterator[tuple[Task, Settled]]:
        """Restore a photo, while the next one is read and the last one is written, and yield what was."""
        self.held.append(opened)
        task = opened.task
        self.on_progress(task, 0.0)
        self.on_size(task, opened.looked.size[0] * opened.looked.size[1])
        if self.left is None or self.left > 1:
            self.ahead = self.reader.submit(_look_ahead, rest, self.desk)
        restored = restore_opened(opened, self.desk, lambda share: self.on_progress(task, share))
        yield from self._finished()  # so that no more than one waits to be written
        if isinstance(restored, Outcome):
            self._let_go(opened)
            self.on_progress(task, 1.0)
            yield task, restored
            return
        if self.left is not None:
            self.left -= 1
        future = self.writer.submit(write_opened, opened, restored, self.desk)
        self.written.append((opened, future))
        if not opened.light or self.left == 0:
            yield from self._finished()

    def _finished(self) -> Iterator[tuple[Task, Settled]]:
        while self.written:
            opened, future = self.written.popleft()
            outcome = future.result()
            self._let_go(opened)
            self.on_progress(opened.task, 1.0)
            yield opened.task, outcome

    def _let_go(self, opened: Opened) -> None:
        opened.let_go()
        self.held.remove(opened)


def _look_ahead(rest: Iterator[Task], desk: Desk) -> "list[tuple[Task, Settled | Opened]]":
    """Return the next photo to restore, behind those that need nothing."""
    found: list[tuple[Task, Settled | Opened]] = []
    for task in rest:
        item = open_task(task, desk)
        found.append((task, item))
        if isinstance(item, Opened) or len(found) == _PASSED_AT_ONCE:
            break
    return found
