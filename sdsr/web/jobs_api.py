"""Jobs: made, looked at, listened to, given up."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, File, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from sdsr.web.keeping import forget_job, forget_photo
from sdsr.web.live import TERMINAL, Event
from sdsr.web.photos_api import keep_photo
from sdsr.web.problems import RESPONSES, Problem, busy
from sdsr.web.service import Client, Here, KnownJob, Service, header_of
from sdsr.web.store import PhotoRow
from sdsr.web.views import JobList, JobView, preview_view
from sdsr.web.wishes import JobForm

router = APIRouter(prefix="/v1", tags=["jobs"], responses=RESPONSES)


@router.post("/jobs", status_code=202)
async def create_job(
    form: Annotated[JobForm, File(media_type="multipart/form-data")], response: Response, here: Here, client: Client
) -> JobView:
    """Queue a job for a photo that comes with it, or is here. What can't be done is refused at once."""
    photo, fresh = await _photo_of(form, here, client)
    try:
        wishes = form.wishes(header_of(photo), here.settings.limits, here.settings.model, here.desk.models)
        job = here.desk.queue(client, photo.id, "crop" if form.region else "full", wishes)
        if job is None:
            raise busy("too many jobs are waiting already; come back when some are done.")
    except BaseException:
        if fresh:
            forget_photo(here.desk, photo.id)
        raise
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return here.view(job)


@router.get("/jobs")
async def list_jobs(here: Here, client: Client) -> JobList:
    """Return the client's jobs, the newest first."""
    return JobList(jobs=[here.view(job) for job in here.store.jobs(client)])


@router.get("/jobs/{id}")
async def get_job(id: str, here: Here) -> JobView:
    """Return what is known of a job."""
    return here.view(here.job(id))


@router.delete("/jobs/{id}", status_code=204)
async def delete_job(id: str, here: Here) -> Response:
    """Cancel a job that waits or runs; delete one that has ended, with its result."""
    job = here.job(id)
    if job.state in ("queued", "running"):
        here.desk.cancel(job)
    else:
        forget_job(here.desk, id)
    return Response(status_code=204)


@router.get("/jobs/{id}/events", response_class=EventSourceResponse)
async def job_events(job: KnownJob, here: Here) -> AsyncIterator[ServerSentEvent]:
    """Tell what happens to a job, until it ends: queued, started, planned, window, step, preview, done, failed.

    The first event is `job`, what is known of it; `done`, `failed` and `canceled` hold the same at the end.
    """
    with here.desk.hub.listening(job=job.id) as listener:
        row = here.job(job.id)
        yield ServerSentEvent(event="job", data=here.view(row).model_dump())
        if row.state in TERMINAL:
            yield ServerSentEvent(event=row.state, data=here.view(row).model_dump())
            return
        async for event in here.desk.hub.events(listener):
            told = _told(here, event)
            if told is not None:
                yield told
            if event.name in TERMINAL:
                return


@router.get("/events", response_class=EventSourceResponse)
async def all_events(here: Here, client: Client) -> AsyncIterator[ServerSentEvent]:
    """Tell what happens to all of the client's jobs, over one connection; the first event is `jobs`, all of them."""
    with here.desk.hub.listening(client=client) as listener:
        jobs = JobList(jobs=[here.view(job) for job in here.store.jobs(client)])
        yield ServerSentEvent(event="jobs", data=jobs.model_dump())
        async for event in here.desk.hub.events(listener):
            told = _told(here, event)
            if told is not None:
                yield told


async def _photo_of(form: JobForm, here: Service, client: str) -> tuple[PhotoRow, bool]:
    """Return a form's photo, and whether it came with it."""
    if (form.photo is None) == (form.photo_id is None):
        said = "both" if form.photo else "none"
        raise Problem(422, "input", f"photo and photo_id (={said} of them) say which photo; give one of them.")
    if form.photo_id is not None:
        return here.photo(form.photo_id), False
    assert form.photo is not None, "one of them is given"
    return await keep_photo(here, form.photo, client), True


def _told(here: Service, event: Event) -> ServerSentEvent | None:
    """Return an event as it is sent; None for one of a job that was deleted meanwhile."""
    data = event.data
    if event.name == "preview":
        data = {"job": event.job, **preview_view(event.job, data).model_dump()}
    elif event.name in (*TERMINAL, "queued", "started"):
        row = here.store.job(event.job)
        if row is None:
            return None
        data = here.view(row).model_dump()
    return ServerSentEvent(event=event.name, data=data)
