"""Brings jobs to the processes that restore, watches them, and notes what becomes of them."""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from sdsr.web.child import Child, ChildDiedError
from sdsr.web.files import Files, remove
from sdsr.web.live import TERMINAL, Event, Hub, Live
from sdsr.web.problems import Problem, problem_named
from sdsr.web.reader import SOURCE
from sdsr.web.settings import Settings
from sdsr.web.store import JobRow, Store

CANCEL_PATIENCE_S = 30.0
_LEAST_LIFE_S = 5.0
_GLANCE_S = 1.0
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Worker:
    """A process on a device; `job` is what it works on, `until` when that is given up (monotonic seconds)."""

    device: str | None
    child: Child
    ready: bool = False
    job: JobRow | None = None
    until: float = 0.0
    overdue: bool = False


@dataclass(slots=True, kw_only=True)
class Desk:
    """All jobs of a service. `models` is what the workers said of theirs, None before."""

    settings: Settings
    store: Store
    files: Files
    hub: Hub = field(default_factory=Hub)
    live: dict[str, Live] = field(default_factory=dict)
    models: list[dict[str, Any]] | None = None
    workers: list[Worker] = field(default_factory=list)
    tasks: list[asyncio.Task] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False

    async def start(self) -> None:
        """Begin: jobs that were cut off wait again."""
        for id in self.store.resume(_cut_off()):
            log.warning("job %s was cut off too often and is given up.", id[:6])
        for device in self.settings.devices:
            child = Child("sdsr.web.worker", device or "", self.settings.model)
            worker = Worker(device=device, child=child)
            self.workers.append(worker)
            self.tasks.append(asyncio.create_task(self._serve(worker)))

    async def stop(self) -> None:
        """End within seconds: what runs waits again, and goes on when the service is started next."""
        self.stopping = True
        running = [worker.job for worker in self.workers if worker.job is not None]
        for task in self.tasks:
            task.cancel()
        for worker in self.workers:
            await worker.child.kill()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for job in running:
            self.store.park(job.id)

    @property
    def ready(self) -> bool:
        """Whether a model is loaded."""
        return any(worker.ready for worker in self.workers)

    def queue(self, client: str, photo: str, kind: Any, wishes: Mapping[str, Any]) -> JobRow | None:
        """Add a job; None where too many wait."""
        job = self.store.add_job(
            client,
            photo,
            kind,
            wishes,
            most=self.settings.queue,
            most_of_client=self.settings.queue_per_client,
        )
        if job is not None:
            self.tell(job, "queued", {"position": self.store.position(job)})
            self.wake.set()
        return job

    def cancel(self, job: JobRow) -> None:
        """Let a job be canceled; one that has ended stays what it is."""
        if not self.store.cancel(job.id):
            return
        self.tell(job, "canceled", {})
        for worker in self.workers:
            if worker.job is not None and worker.job.id == job.id:
                worker.until = min(worker.until, time.monotonic() + CANCEL_PATIENCE_S)
                self.tasks = [task for task in self.tasks if not task.done()]
                self.tasks.append(asyncio.create_task(worker.child.send(do="cancel", id=job.id)))

    def tell(self, job: JobRow, event: str, data: dict[str, Any]) -> None:
        """Tell listeners of an event."""
        if event in TERMINAL:
            self.live.pop(job.id, None)
        self.hub.tell(Event(job=job.id, name=event, data={"job": job.id, **data}), job.client)

    async def _serve(self, worker: Worker) -> None:
        """Keep a process at work; one that ends is started again."""
        while not self.stopping:
            began = time.monotonic()
            await worker.child.start()
            try:
                await self._work(worker)
            except ChildDiedError as death:
                log.error("worker on %s: %s", worker.device or "the default device", death.reason)
                self._fail_crashed(worker, death.reason)
            worker.ready = False
            if time.monotonic() - began < _LEAST_LIFE_S:
                await asyncio.sleep(_LEAST_LIFE_S)

    async def _work(self, worker: Worker) -> None:
        """Give a process one job after another; it tells when it is ready."""
        while not worker.ready:
            message = await worker.child.receive()
            if message["event"] == "models":
                self.models = list(message["models"])
            worker.ready = message["event"] == "ready"
        while True:
            watch = asyncio.create_task(worker.child.receive())  # an idle process that dies is noticed
            try:
                await self._run(worker, await self._next(watch), watch)
            finally:
                watch.cancel()

    async def _next(self, watch: "asyncio.Task[Mapping[str, Any]]") -> JobRow:
        """Return the next job, as soon as there is one; raise ChildDiedError where the process ends meanwhile."""
        while True:
            if watch.done():
                watch.result()
            job = self.store.take()
            if job is not None:
                return job
            self.wake.clear()
            wake = asyncio.create_task(self.wake.wait())
            await asyncio.wait({watch, wake}, return_when=asyncio.FIRST_COMPLETED)
            wake.cancel()

    async def _run(self, worker: Worker, job: JobRow, first: "asyncio.Task[Mapping[str, Any]]") -> None:
        worker.job = job
        worker.until = time.monotonic() + self.settings.job_s
        worker.overdue = False
        self.live[job.id] = Live()
        self.tell(job, "started", {})
        try:
            await worker.child.send(**self._order(job))
            message = await self._message(worker, first)
            while not self._take(job, message, overdue=worker.overdue):
                message = await self._message(worker, asyncio.create_task(worker.child.receive()))
            worker.job = None
        finally:
            self.live.pop(job.id, None)
            row = self.store.job(job.id)
            if row is None or row.state in ("failed", "canceled"):
                remove(self.files.job(job.id))

    async def _message(self, worker: Worker, coming: "asyncio.Task[Mapping[str, Any]]") -> Mapping[str, Any]:
        """Return the next message of a job; where it takes too long, cancel the job, then end the process."""
        while True:
            await asyncio.wait({coming}, timeout=_GLANCE_S)
            if coming.done():
                return coming.result()
            if time.monotonic() < worker.until:
                continue
            assert worker.job is not None, "it runs"
            row = self.store.job(worker.job.id)
            if worker.overdue or row is None or row.state == "canceled":
                await worker.child.kill()
                return await coming
            worker.overdue = True
            worker.until = time.monotonic() + CANCEL_PATIENCE_S
            await worker.child.send(do="cancel", id=worker.job.id)

    def _order(self, job: JobRow) -> dict[str, Any]:
        photo = self.files.photo(job.photo)
        folder = self.files.begin_job(job.id)
        limits = asdict(self.settings.limits)
        return {
            "do": "restore", "id": job.id, "source": str(photo / SOURCE), "folder": str(folder), "limits": limits,
            **job.wishes,
        }  # fmt: skip

    def _take(self, job: JobRow, message: Mapping[str, Any], *, overdue: bool) -> bool:
        """Note what a message says; return whether the job has ended."""
        data = {name: value for name, value in message.items() if name not in ("event", "id")}
        match message["event"]:
            case "done":
                if self.store.finish(job.id, message["outcome"]):
                    self.tell(job, "done", {})
                return True
            case "failed":
                self._fail(job, problem_named(message["error"], message["message"]))
                return True
            case "canceled":
                if overdue:
                    self._fail(job, _too_long(self.settings.job_s))
                return True
        live = self.live.get(job.id)
        if live is not None:
            live.take(message["event"], data)
            self.tell(job, message["event"], data)
        return False

    def _fail(self, job: JobRow, problem: Problem) -> None:
        details = problem.details.model_dump()
        if self.store.fail(job.id, details):
            self.tell(job, "failed", {"problem": details})

    def _fail_crashed(self, worker: Worker, reason: str) -> None:
        """Note that a process died under its job: that job is lost, and said to be."""
        job = worker.job
        worker.job = None
        if job is None or self.stopping:
            return
        problem = (
            _too_long(self.settings.job_s)
            if worker.overdue
            else Problem(
                500,
                "crash",
                f"the process that restored it was ended ({reason}); try again, or a smaller result.",
            )
        )
        self._fail(job, problem)
        with suppress(OSError):
            remove(self.files.job(job.id))


def _too_long(limit_s: float) -> Problem:
    return Problem(
        503,
        "time",
        f"the job took too long (limit {limit_s:g} s); enlarge less, take fewer steps, or raise --job-minutes.",
    )


def _cut_off() -> dict[str, Any]:
    detail = "the service ended under this job three times; try a smaller result."
    return Problem(500, "crash", detail).details.model_dump()
