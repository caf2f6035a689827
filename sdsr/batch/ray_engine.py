"""A Ray cluster as an engine: one actor for each device; what travels is paths and outcomes, never pictures.

Each worker is what a process on one machine is: it claims photos, reads, restores and writes them, and notes them in
the same manifest. So a worker that dies loses the photo that it is at, other engines may work on the same folder, and
any of them goes on where another stopped. All machines must see photos and results by the same paths.
"""

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from sdsr.allocator import keep_little
from sdsr.batch.alive import new_token
from sdsr.batch.desk import Batch, Desk
from sdsr.batch.opening import skip_finished
from sdsr.batch.outcome import Outcome
from sdsr.batch.ray_cluster import Cluster, connect, import_ray, shares
from sdsr.batch.walking import Task
from sdsr.errors import ModelError, SdsrError

log = logging.getLogger(__name__)

MOST_DEATHS = 3
"""How many workers may die of one photo before it is given up."""
_MOST_AT_ONCE = 8  # photos that a worker is given; while one is restored it reads the next and writes the last
_CLOSING_S = 10.0


def process_on_ray(batch: Batch, cluster: Cluster) -> Iterator[Outcome]:
    """Restore the photos on a cluster and yield what became of each, as it arrives; see `sdsr.batch.engine.process`.

    Those of a bucket are fetched and uploaded by the workers. What is finished is found here, before anything of Ray
    is started. Raises InputError where Ray isn't here or the cluster can't be reached, and the model's error where it
    can't be loaded.
    """
    desk = Desk(batch=batch)
    with closing(desk):
        left = yield from skip_finished(batch.tasks, desk)
    if left:
        yield from _on_cluster(left, desk, cluster)


def _on_cluster(tasks: Sequence[Task], desk: Desk, cluster: Cluster) -> Iterator[Outcome]:
    ray = import_ray()
    started = connect(ray, cluster)
    try:
        count, share = shares(ray.cluster_resources(), cluster.workers)
        actor = ray.remote(max_restarts=0, **share)(_Worker)
        dispatch = _Dispatch(ray=ray, actor=actor, desk=desk, waiting=deque(tasks), left=desk.batch.limit)
        yield from dispatch.run(count)
        desk.close()  # which removes what dead workers left
    finally:
        if started:
            ray.shutdown()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hired:
    """A worker's actor, and the token that its claims are known by."""

    actor: Any
    token: str


@dataclass(slots=True, kw_only=True)
class _Dispatch:
    """Who has which photos: each worker gets a few after another, and a new one is hired for each that dies.

    No more are `given` than may be `left` to restore, were all of these restored: those that fail or are found
    finished leave room for others. `given` is by what Ray calls each answer to come.
    """

    ray: ModuleType
    actor: Any
    desk: Desk
    waiting: deque[Task]
    left: int | None
    idle: list[_Hired] = field(default_factory=list)
    at_once: int = 1
    given: dict[Any, tuple[_Hired, list[Task]]] = field(default_factory=dict)
    deaths: Counter[Task] = field(default_factory=Counter)

    def run(self, workers: int) -> Iterator[Outcome]:
        """Hire workers for a photo each at most, yield what became of each as it arrives, and send them home."""
        most = min(len(self.waiting), self.left or len(self.waiting))
        self.idle = [self._hire() for _ in range(min(workers, most))]
        self.at_once = max(1, min(_MOST_AT_ONCE, most // (4 * len(self.idle))))
        self._give()
        while self.given:
            yield from self._next()
            self._give()
        closing = [worker.actor.close.remote() for worker in self.idle]
        self.ray.wait(closing, num_returns=len(closing), timeout=_CLOSING_S)

    def _hire(self) -> _Hired:
        token = new_token()
        batch = self.desk.batch
        bucket = batch.bucket and replace(batch.bucket, photos={})
        given = replace(batch, tasks=(), bucket=bucket, limit=None)  # what was listed stays here, and is counted here
        return _Hired(actor=self.actor.remote(given, token), token=token)

    def _give(self) -> None:
        while self.waiting and self.idle:
            room = len(self.waiting)
            if self.left is not None:
                room = min(room, self.left - sum(len(tasks) for _, tasks in self.given.values()))
            if room <= 0:
                return
            tasks = [self.waiting.popleft() for _ in range(min(self.at_once, room))]
            worker = self.idle.pop()
            self.given[worker.actor.restore.remote(tasks)] = worker, tasks

    def _next(self) -> list[Outcome]:
        (ready, *_), _ = self.ray.wait(list(self.given), num_returns=1)
        worker, tasks = self.given.pop(ready)
        try:
            found: list[Outcome] = self.ray.get(ready)
        except self.ray.exceptions.RayTaskError as error:
            raise _cause(error) from error
        except (self.ray.exceptions.RayActorError, self.ray.exceptions.WorkerCrashedError) as error:
            log.warning("a worker died (%s); its photos go to a new one.", type(error).__name__)
            return self._replace(worker, tasks)
        self.idle.append(worker)
        if self.left is not None:
            self.left -= sum(each.size is not None for each in found)
        return found

    def _replace(self, dead: _Hired, tasks: Sequence[Task]) -> list[Outcome]:
        """Hire another worker, and return what is said of photos that too many have died at.

        As Ray knows that the worker is dead, nobody needs to watch what it had claimed.
        """
        for root in {task.root for task in tasks if task.root is not None}:
            self.desk.results(root).bury(dead.token)
        self.idle.append(self._hire())
        self.at_once = 1  # so that the one at which they die is known
        self.deaths.update(tasks)
        given_up = [task for task in tasks if self.deaths[task] >= MOST_DEATHS]
        self.waiting.extendleft(task for task in tasks if task not in given_up)
        died = f"{MOST_DEATHS} workers died at %s; see Ray's log, and give each more memory."
        return [self.desk.failed(task, "system", died % task.source.name) for task in given_up]


class _Worker:
    """A process of the cluster with the model on its device."""

    def __init__(self, batch: Batch, token: str) -> None:
        keep_little()
        self.desk = Desk(batch=batch, token=token)

    def restore(self, tasks: list[Task]) -> list[Outcome]:
        from sdsr.batch.engine import work

        return list(work(tasks, self.desk))

    def close(self) -> None:
        """Give up claims, and note what was found finished."""
        self.desk.close()


def _cause(error: Any) -> Exception:
    """Return what a worker raised, which is no photo's fault: a model that can't be loaded."""
    cause = getattr(error, "cause", None)
    said = str(error).strip().splitlines()[-1]
    return cause if isinstance(cause, SdsrError) else ModelError(f"a worker failed ({said}); see Ray's log.")
