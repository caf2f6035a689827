"""All of a service that its routes share, and how they get at it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from sdsr.errors import InputError
from sdsr.photos.probe import Header
from sdsr.web.checking import Checking
from sdsr.web.desk import Desk
from sdsr.web.files import Files
from sdsr.web.problems import Problem, busy, missing
from sdsr.web.sessions import Sessions
from sdsr.web.settings import Settings
from sdsr.web.store import JobRow, PhotoRow, Store
from sdsr.web.views import JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Settings, what is kept, who asks, and the processes that work."""

    settings: Settings
    store: Store
    files: Files
    sessions: Sessions
    checking: Checking
    desk: Desk

    @classmethod
    def on(cls, settings: Settings) -> "Service":
        """Return the service of a folder; raise InputError where it can't be."""
        settings.check()
        files = Files(settings.folder, settings.stored_bytes)
        store = Store(settings.folder / "jobs.sqlite")
        return cls(
            settings=settings,
            store=store,
            files=files,
            sessions=Sessions.of(settings.folder, settings.token),
            checking=Checking(settings),
            desk=Desk(settings=settings, store=store, files=files),
        )

    def job(self, id: str) -> JobRow:
        """Return a job; its id is what only who made it knows. Raises Problem."""
        job = self.store.job(id)
        if job is None:
            raise missing("the job")
        return job

    def photo(self, id: str) -> PhotoRow:
        photo = self.store.photo(id)
        if photo is None:
            raise missing("the photo")
        return photo

    def view(self, job: JobRow) -> JobView:
        """Return what is told of a job."""
        position = self.store.position(job) if job.state == "queued" else None
        return JobView.of(job, self.photo(job.photo), self.desk.live.get(job.id), position)

    def finished(self, id: str) -> JobRow:
        """Return a job that is done; raise Problem for another."""
        job = self.job(id)
        if job.outcome is None:
            raise Problem(409, "state", f"the job is {job.state}, not done; wait for its events, or start it again.")
        return job

    def refuse(self, path: str, client: str) -> Problem | None:
        """Return why an upload isn't taken, before it is read."""
        settings = self.settings
        if path == "/v1/jobs" and self.store.count_active(client) >= settings.queue_per_client:
            return busy(f"{settings.queue_per_client} of your jobs are waiting already; come back when some are done.")
        if path == "/v1/jobs" and self.store.count_active() >= settings.queue:
            return busy(f"{settings.queue} jobs are waiting already; come back when some are done.")
        most = settings.photos_per_client
        if path in ("/v1/jobs", "/v1/photos") and self.store.count_photos(client) >= most:
            return busy(f"{most} of your photos are kept already; delete some, or wait until they expire.")
        return None


def header_of(photo: PhotoRow) -> Header:
    """Return the header that was read of a photo."""
    try:
        return Header(**photo.header)
    except TypeError as error:
        raise InputError("the photo was kept by another version; upload it again.") from error


def service_of(request: Request) -> Service:
    return request.app.state.service


def client_of(request: Request) -> str:
    return request.state.client


Here = Annotated[Service, Depends(service_of)]
"""The service that a route belongs to."""
Client = Annotated[str, Depends(client_of)]
"""Who asks: a cookie's client, or an address."""


async def known_job(id: str, here: Here) -> JobRow:
    """Return the job of a path, before anything is answered."""
    return here.job(id)


KnownJob = Annotated[JobRow, Depends(known_job)]
"""The job that a path names."""
