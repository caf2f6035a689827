"""The application: routes, guard, page, and what begins and ends with it."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware import Middleware

from sdsr import __version__
from sdsr.web import house_api, jobs_api, photos_api, results_api
from sdsr.web.files import remove
from sdsr.web.guard import Guard
from sdsr.web.keeping import keep_sweeping, remove_strays
from sdsr.web.problems import add_problems
from sdsr.web.service import Service

PAGE = Path(__file__).parent / "page"
_FORM_BYTES = 1 << 20
_DESCRIPTION = """Restore and enlarge photos. Detail that a photo lacks is invented by a model, and results say so.

Upload a photo, queue jobs for it, listen to their events, take the results home. See docs/service.md."""


def build(service: Service) -> FastAPI:
    """Return the application of a service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        usual = tempfile.tempdir
        tempfile.tempdir = str(service.files.incoming)  # so that a body and its photo share a file system
        remove_strays(service.desk)
        await service.desk.start()
        sweeping = asyncio.create_task(keep_sweeping(service.desk, service.settings.keep_s))
        reading = asyncio.create_task(service.checking.start())
        yield
        sweeping.cancel()
        await asyncio.gather(sweeping, reading, return_exceptions=True)
        await service.desk.stop()
        await service.checking.stop()
        service.store.close()
        tempfile.tempdir = usual
        if service.settings.forget:
            remove(service.settings.folder)

    guard = Middleware(
        Guard,  # pyright: ignore[reportArgumentType]
        settings=service.settings,
        sessions=service.sessions,
        hosts=service.settings.known_hosts(),
        refuse=service.refuse,
    )
    app = FastAPI(
        title="sdsr",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # its scripts come from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        middleware=[guard],
        max_body_size=service.settings.limits.max_file_bytes + _FORM_BYTES,
        form_limits={"max_files": 1, "max_fields": 48, "max_part_size": 64 << 10},
    )
    app.state.service = service
    app.state.page = PAGE
    app.state.logins = asyncio.Semaphore(8)
    add_problems(app)
    for router in (photos_api.router, jobs_api.router, results_api.router, house_api.router):
        app.include_router(router)
    app.frontend("/", directory=PAGE, fallback=None)
    return app
