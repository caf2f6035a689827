"""Services for the tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.served import Served


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
