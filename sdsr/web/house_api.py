"""The rest: models, login, and what tells whether the service is well."""

import asyncio
import time
from typing import Annotated

import psutil
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse
from pydantic import BaseModel

from sdsr.trust.text import can_find_text
from sdsr.web.guard import session_cookie
from sdsr.web.problems import RESPONSES, Problem, busy, missing
from sdsr.web.service import Here, Service
from sdsr.web.sessions import COOKIE
from sdsr.web.views import ModelList, ModelView

_LOGIN_PAUSE_S = 0.5
router = APIRouter(tags=["service"])


class Health(BaseModel):
    """How a service is."""

    status: str


@router.get("/v1/models", responses=RESPONSES)
async def list_models(here: Here) -> ModelList:
    """Return the models, and what can be wished of each."""
    models = sorted(here.desk.models, key=lambda model: model.name != here.settings.model)
    limits = here.settings.limits
    return ModelList(
        ready=here.desk.ready,
        models=[ModelView(**model.model_dump(), default=model.name == here.settings.model) for model in models],
        finds_text=can_find_text(),
        max_input_pixels=limits.max_input_pixels,
        max_output_pixels=limits.max_output_pixels,
        max_file_bytes=limits.max_file_bytes,
    )


@router.get("/livez")
async def live() -> Health:
    """Tell that the service answers."""
    return Health(status="alive")


@router.get("/readyz", responses={503: RESPONSES[503]})
async def ready(here: Here) -> Health:
    """Tell whether a model is loaded; jobs are taken before, and wait."""
    if not here.desk.ready:
        raise Problem(503, "loading", "the model is being loaded; ask again in a few seconds.", {"Retry-After": "2"})
    return Health(status="ready")


@router.get("/metrics", response_class=PlainTextResponse, responses={404: RESPONSES[404]})
async def metrics(here: Here) -> Response:
    """Tell figures in Prometheus's text format, where the service was started with --metrics."""
    if not here.settings.metrics:
        raise missing("/metrics (start with --metrics)")
    return PlainTextResponse(_figures(here), media_type="text/plain; version=0.0.4")


@router.get("/login", include_in_schema=False)
async def login_page(request: Request) -> Response:
    """Return the form that asks for the token."""
    return FileResponse(request.app.state.page / "login.html")


@router.post("/login", include_in_schema=False)
async def login(request: Request, here: Here, token: Annotated[str, Form(max_length=1000)]) -> Response:
    """Exchange the token for a cookie; guesses are slowed down, all of them together."""
    gate: asyncio.Semaphore = request.app.state.logins
    if gate.locked():
        raise busy("too many logins at once; try again in a moment.")
    async with gate:
        if not here.sessions.accepts(token):
            await asyncio.sleep(_LOGIN_PAUSE_S)
            return RedirectResponse("/login?wrong", 303)
    answer = RedirectResponse("/", 303)
    answer.headers.append("Set-Cookie", session_cookie(here.sessions.mint(), secure=request.url.scheme == "https"))
    return answer


@router.post("/logout", include_in_schema=False)
async def logout() -> Response:
    answer = JSONResponse({"status": "logged out"})
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _figures(here: Service) -> str:
    counts = here.store.counts()
    states = ("queued", "running", "done", "failed", "canceled")
    lines = ["# TYPE sdsr_jobs gauge", *(f'sdsr_jobs{{state="{state}"}} {counts.get(state, 0)}' for state in states)]
    figures = {
        "sdsr_workers_ready": sum(worker.ready for worker in here.desk.workers),
        "sdsr_listeners": len(here.desk.hub.listeners),
        "sdsr_stored_bytes": here.files.used_bytes(),
        "sdsr_resident_bytes": psutil.Process().memory_info().rss,
        "sdsr_time_seconds": int(time.time()),
    }
    lines += [f"# TYPE {name} gauge\n{name} {value}" for name, value in figures.items()]
    return "\n".join(lines) + "\n"
