"""Services for the tests."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import httpx2 as httpx
import pytest

from sdsr.web.app import build
from sdsr.web.service import Service
from sdsr.web.settings import Settings
from tests.served import Served

T = TypeVar("T")


class Indoor:
    """A service in this process, asked without a socket. Its reader decodes as always; nothing restores."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.service = Service.on(Settings(folder=folder, devices=(), queue=1000, queue_per_client=1000))
        self.stack = AsyncExitStack()
        self.client = self.run(self._open())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    async def _open(self) -> httpx.AsyncClient:
        app = build(self.service)
        await self.stack.enter_async_context(app.router.lifespan_context(app))
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=60)
        return await self.stack.enter_async_context(client)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.run(self.client.post(path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.run(self.client.get(path, **options))

    def delete(self, path: str) -> httpx.Response:
        return self.run(self.client.delete(path))

    def close(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()


@pytest.fixture(scope="module")
def indoor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indoor]:
    """One for all tests of a module."""
    opened = Indoor(tmp_path_factory.mktemp("indoor") / "kept")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all tests of a module that leave it as it was."""
    served = Served(tmp_path_factory.mktemp("service") / "kept")
    yield served.ready()
    served.stop()
    assert "Traceback" not in served.said
    assert "ERROR" not in served.said


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts services; what still runs afterwards is ended."""
    started: list[Served] = []

    def start(*options: str, **environment: str) -> Served:
        started.append(Served(tmp_path / "kept", *options, **environment))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.kill()
