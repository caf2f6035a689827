"""The server: it listens, and ends within seconds when it is told to."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from sdsr.batch.alive import lock
from sdsr.errors import InputError
from sdsr.web.app import build
from sdsr.web.service import Service
from sdsr.web.settings import Settings

_GRACE_S = 1
_GLANCE_S = 0.1
_MOST_CONNECTIONS = 512


def serve(settings: Settings, *, on_listening: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `on_listening` is told the page's address.

    Raises InputError where port or folder is taken, or the settings would leave the service open.
    """
    settings.check()
    with _alone(settings.folder):
        _serve_alone(Service.on(settings), on_listening)


def _serve_alone(service: Service, on_listening: Callable[[str], None]) -> None:
    settings = service.settings
    listening = _listen(settings.host, settings.port)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    config = uvicorn.Config(
        build(service),
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_GRACE_S,
        limit_concurrency=_MOST_CONNECTIONS,
        lifespan="on",
    )
    on_listening(f"http://{host}:{listening.getsockname()[1]}/")
    asyncio.run(_serve(uvicorn.Server(config), service, listening))


async def _serve(server: uvicorn.Server, service: Service, listening: socket.socket) -> None:
    async def let_listeners_go() -> None:
        while not server.should_exit:
            await asyncio.sleep(_GLANCE_S)
        service.desk.hub.close()

    letting = asyncio.create_task(let_listeners_go())
    await server.serve([listening])
    server.should_exit = True
    await letting


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a service's folder; raise InputError where another one does, whose jobs this one would take for cut off."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / "serving.lock").open("ab")
    except OSError as error:
        raise InputError(f"folder (={folder}) can't be used ({error.strerror}); choose another.") from error
    with file:
        if not lock(file):
            raise InputError(
                f"folder (={folder}) is another service's that runs; end that one, or choose another --folder."
            )
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        raise InputError(f"port (={port}) of {host} can't be used ({error}); try another --port.") from error
    listening.setblocking(False)
    return listening
