"""Brings jobs to the processes that restore, watches them, and notes what becomes of them."""

import asyncio
import logging
import time
from dataclasses import asdict, dataclass, field

from sdsr.web.abilities import Abilities, abilities_here
from sdsr.web.child import Child, ChildDiedError
from sdsr.web.files import Files, remove
from sdsr.web.lines import JobWishes, Message
from sdsr.web.live import TERMINAL, Event, Hub, Live
from sdsr.web.problems import Problem, problem_named
from sdsr.web.reader import SOURCE
from sdsr.web.settings import Settings
from sdsr.web.store import JobRow, Kind, Store
from sdsr.web.workers import Worker

CANCEL_PATIENCE_S = 30.0
_LEAST_LIFE_S = 5.0
_GLANCE_S = 1.0
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Desk:
    """All jobs of a service. `models` is what can be wished of each model that can be loaded here."""

    settings: Settings
    store: Store
    files: Files
    hub: Hub = field(default_factory=Hub)
    live: dict[str, Live] = field(default_factory=dict)
    models: list[Abilities] = field(default_factory=abilities_here)
    workers: list[Worker] = field(default_factory=list)
    tasks: list[asyncio.Task] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False

    async def start(self) -> None:
        """Begin: jobs that were cut off wait again."""
        cut_off = Problem(500, "crash", "the service ended under this job three times; try a smaller result.")
        for id in self.store.resume(cut_off.details.model_dump()):
            log.warning("job %s was cut off too often and is given up.", id[:6])
        for device in self.settings.devices:
            child = Child("sdsr.web.worker", device or "", self.settings.model)
            worker = Worker(device=device, child=child)
            self.workers.append(worker)
            self.tasks.append(asyncio.create_task(self._serve(worker)))

    async def stop(self) -> None:
        """End within seconds: what runs waits again, and goes on when the service is started next."""
        self.stopping = True
        running = [id for worker in self.workers for id in worker.runs]
        for task in self.tasks:
            task.cancel()
        for worker in self.workers:
            await worker.child.kill()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for id in running:
            self.store.park(id)

    @property
    def ready(self) -> bool:
        """Whether a model is loaded."""
        return any(worker.ready for worker in self.workers)

    def queue(self, client: str, photo: str, kind: Kind, wishes: JobWishes) -> JobRow | None:
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
            run = worker.runs.get(job.id)
            if run is not None:
                run.until = min(run.until, time.monotonic() + CANCEL_PATIENCE_S)
                self.tasks = [task for task in self.tasks if not task.done()]
                self.tasks.append(asyncio.create_task(worker.child.send(do="cancel", id=job.id)))

    def tell(self, job: JobRow, event: str, data: Message) -> None:
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
                log.error("worker on %s: %s", worker.device or "the default device", death)
                self._fail_crashed(worker, str(death))
            worker.ready = False
            self.wake.set()
            if time.monotonic() - began < _LEAST_LIFE_S:
                await asyncio.sleep(_LEAST_LIFE_S)

    async def _work(self, worker: Worker) -> None:
        """Give a process what it takes, and hear what it says; raise ChildDiedError where it ends."""
        coming = asyncio.create_task(worker.child.receive())
        try:
            while True:
                await self._give(worker)
                self.wake.clear()  # nothing was awaited since nothing was found
                wake = asyncio.create_task(self.wake.wait())
                patience = _GLANCE_S if worker.runs else None
                await asyncio.wait({coming, wake}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                wake.cancel()
                if coming.done():
                    self._hear(worker, coming.result())
                    coming = asyncio.create_task(worker.child.receive())
                await self._hurry(worker)
        finally:
            coming.cancel()

    async def _give(self, worker: Worker) -> None:
        """Let a process begin what waits; what it would stand still for, only where no other process is idle."""
        while not worker.runs or not any(other.ready and not other.runs for other in self.workers):
            job = self.store.take(*worker.takes())
            if job is None:
                return
            worker.begin(job, self.settings.job_s)
            self.live[job.id] = Live()
            self.tell(job, "started", {})
            await worker.child.send(**self._order(job))

    def _hear(self, worker: Worker, message: Message) -> None:
        """Take what a process says."""
        if message["event"] == "ready":
            worker.ready = True
            return
        run = worker.runs.get(message["id"])
        if run is not None and self._take(run.job, message, overdue=run.overdue):
            worker.end(run.job.id)
            self._clear(run.job)

    def _clear(self, job: JobRow) -> None:
        """Let go of a job that runs no longer, and of its files where it has no result."""
        self.live.pop(job.id, None)
        row = self.store.job(job.id)
        if row is None or row.state != "done":
            remove(self.files.job(job.id))

    async def _hurry(self, worker: Worker) -> None:
        """Cancel what takes too long, and end the process where that doesn't help."""
        run = worker.active
        if run is None or time.monotonic() < run.until:
            return
        row = self.store.job(run.job.id)
        if run.overdue or row is None or row.state == "canceled":
            await worker.child.kill()
            return
        run.overdue = True
        run.until = time.monotonic() + CANCEL_PATIENCE_S
        await worker.child.send(do="cancel", id=run.job.id)

    def _order(self, job: JobRow) -> dict[str, object]:
        photo = self.files.photo(job.photo)
        folder = self.files.begin_job(job.id)
        limits = asdict(self.settings.limits)
        return {
            "do": "restore", "id": job.id, "source": str(photo / SOURCE), "folder": str(folder), "limits": limits,
            **job.wishes,
        }  # fmt: skip

    def _take(self, job: JobRow, message: Message, *, overdue: bool) -> bool:
        """Note what a message says; return whether the job has ended."""
        data = {name: value for name, value in message.items() if name not in ("event", "id")}
        match message["event"]:
            case "done":
                if self.store.finish(job.id, message["outcome"]):
                    self.files.note(self.files.job(job.id))
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
        """Note that a process died under its job, which is lost, and said to be. One that stood still waits again."""
        if self.stopping:
            return
        active = worker.active
        runs = list(worker.runs.values())
        worker.runs.clear()
        for run in runs:
            if run is active:
                self._fail(run.job, _too_long(self.settings.job_s) if run.overdue else _crash(reason))
            else:
                self.store.park(run.job.id)
                self.tell(run.job, "queued", {"position": self.store.position(run.job)})
            self._clear(run.job)


def _crash(reason: str) -> Problem:
    detail = f"the process that restored it was ended ({reason}); try again, or a smaller result."
    return Problem(500, "crash", detail)


def _too_long(limit_s: float) -> Problem:
    return Problem(
        503,
        "time",
        f"the job took too long (limit {limit_s:g} s); enlarge less, take fewer steps, or raise --job-minutes.",
    )
