"""What is left of jobs that were deleted: nothing, however many there were."""

import gc
from collections import Counter

import pytest

from bench.service_many import left, processes, run
from bench.service_soak import picture
from tests.served import Served
from tests.web.conftest import Indoor

JOBS = 15
OF_TIMERS = {"TimerHandle", "Context", "ReferenceType", "builtin_function_or_method"}
"""asyncio keeps up to a hundred timers that were canceled, with what belongs to them."""


def come_and_go(indoor: Indoor) -> None:
    """Queue a job, listen to it, cancel it, delete all of it; and one that is refused."""
    job = indoor.post("/v1/jobs", files={"photo": ("a.png", picture())}, data={"scale": "1"}).json()
    indoor.delete(f"/v1/jobs/{job['id']}")
    assert "event: canceled" in indoor.get(f"/v1/jobs/{job['id']}/events").text
    indoor.delete(f"/v1/jobs/{job['id']}")
    assert indoor.delete(f"/v1/photos/{job['photo']['id']}").status_code == 204
    assert indoor.post("/v1/jobs", files={"photo": ("a.png", b"no photo")}).status_code == 422


def objects() -> Counter[str]:
    gc.collect()
    return Counter(type(each).__qualname__ for each in gc.get_objects())


@pytest.mark.service
def test_jobs_leave_neither_objects_nor_rows_nor_files(indoor: Indoor) -> None:
    for _ in range(5):
        come_and_go(indoor)
    before = objects()
    for _ in range(JOBS):
        come_and_go(indoor)
    grown = {name: count for name, count in (objects() - before).items() if count >= JOBS and name not in OF_TIMERS}
    assert grown == {}
    assert left(indoor.service.settings.folder) == (0, 0)


@pytest.mark.service
def test_jobs_of_a_service_leave_neither_rows_nor_files_nor_handles(service: Served) -> None:
    """Ten thousand of them: bench/service_many.py."""
    for number in range(10):
        run(service, number)
    handles = {name: process.num_fds() for name, process in processes(service).items()}
    assert {run(service, number) for number in range(50)} == {"done"}
    assert left(service.folder) == (0, 0)
    assert all(process.num_fds() <= handles[name] + 4 for name, process in processes(service).items())
