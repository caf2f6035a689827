"""Which job a process begins next, and how crops and full jobs let each other pass."""

from pathlib import Path

import pytest

from sdsr.web.child import Child
from sdsr.web.store import JobRow, Kind, Store
from sdsr.web.workers import Worker


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store(tmp_path / "jobs.sqlite")
    opened.add_photo("photo", "client", name="a.png", header={}, size=1)
    return opened


def add(store: Store, kind: Kind) -> JobRow:
    job = store.add_job("client", "photo", kind, {}, most=99, most_of_client=99)
    assert job is not None
    return job


def worker() -> Worker:
    return Worker(device=None, child=Child("none"), ready=True)


def test_a_process_that_is_not_ready_takes_nothing() -> None:
    assert Worker(device=None, child=Child("none")).takes() == ()


def test_a_crop_is_begun_beside_a_full_job_and_no_second_one(store: Store) -> None:
    busy = worker()
    busy.begin(add(store, "full"), 60)
    assert busy.takes() == ("crop",)
    crop = add(store, "crop")
    busy.begin(crop, 60)
    assert busy.takes() == ()
    assert busy.active is busy.runs[crop.id]


def test_a_crop_alone_is_let_finish(store: Store) -> None:
    busy = worker()
    busy.begin(add(store, "crop"), 60)
    assert busy.takes() == ()


def test_the_job_that_stood_still_gets_its_time_back(store: Store) -> None:
    busy = worker()
    full, crop = add(store, "full"), add(store, "crop")
    busy.begin(full, 60)
    until = busy.runs[full.id].until
    busy.begin(crop, 60)
    busy.runs[crop.id].since -= 100
    busy.end(crop.id)
    assert busy.runs[full.id].until >= until + 100
    assert busy.active is busy.runs[full.id]


def test_crops_come_first_and_keep_no_full_job_waiting_for_good(store: Store) -> None:
    """As many crops as one likes are there: after the first it is a full job's turn, beside which they go on."""
    full = add(store, "full")
    crops = [add(store, "crop") for _ in range(3)]
    idle = worker()
    first = store.take(*idle.takes())
    assert first is not None
    assert first.id == crops[0].id
    idle.begin(first, 60)
    idle.end(first.id)
    second = store.take(*idle.takes())
    assert second is not None
    assert second.id == full.id
    idle.begin(second, 60)
    third = store.take(*idle.takes())
    assert third is not None
    assert third.id == crops[1].id


def test_jobs_of_a_kind_begin_in_the_order_they_came(store: Store) -> None:
    jobs = [add(store, "full") for _ in range(4)]
    assert store.position(jobs[2]) == 2
    taken = [store.take("crop", "full") for _ in range(5)]
    assert [job and job.id for job in taken] == [*(job.id for job in jobs), None]
