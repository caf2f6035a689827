"""What the processes that restore are busy with: a job, and a crop for which the job stands still."""

import time
from dataclasses import dataclass, field

from sdsr.web.child import Child
from sdsr.web.store import JobRow, Kind


@dataclass(slots=True, kw_only=True)
class Run:
    """A job in a process. `until` is when it is given up; `overdue`: it was, and told to end. In monotonic seconds."""

    job: JobRow
    since: float
    until: float
    overdue: bool = False


@dataclass(slots=True, kw_only=True)
class Worker:
    """A process on a device. `runs` are its jobs by id, `last` is the kind of the one that began last."""

    device: str | None
    child: Child
    ready: bool = False
    runs: dict[str, Run] = field(default_factory=dict)
    last: Kind | None = None

    @property
    def active(self) -> Run | None:
        """What is computed: of two jobs the crop, since the other one stands still for it."""
        return next((run for run in self.runs.values() if run.job.kind == "crop"), next(iter(self.runs.values()), None))

    def takes(self) -> tuple[Kind, ...]:
        """Return the kinds of jobs that it takes now, the preferred one first.

        Somebody looks at a crop, so it comes first, and a full job lets one pass between two windows. After a crop
        it is a full job's turn, so that no number of crops keeps one waiting for good.
        """
        if not self.ready:
            return ()
        if not self.runs:
            return ("full", "crop") if self.last == "crop" else ("crop", "full")
        return ("crop",) if all(run.job.kind == "full" for run in self.runs.values()) else ()

    def begin(self, job: JobRow, limit_s: float | int) -> None:
        """Note that a job begins, which may take `limit_s` seconds."""
        now = time.monotonic()
        self.runs[job.id] = Run(job=job, since=now, until=now + limit_s)
        self.last = job.kind

    def end(self, id: str) -> None:
        """Note that a job has ended; the one that stood still for it has so much more time."""
        spent = time.monotonic() - self.runs.pop(id).since
        for run in self.runs.values():
            run.until += spent
