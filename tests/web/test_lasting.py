"""What outlasts the ends of processes, and how soon the service itself ends."""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.served import SAMPLE, SLOW, Served, wait

pytestmark = pytest.mark.service
Serve = Callable[..., Served]


def test_a_killed_worker_costs_one_job_and_is_reported(serve: Serve) -> None:
    served = serve().ready()
    job = served.submit(**SLOW)["id"]
    waiting = served.submit(scale="1")["id"]
    served.under_way(job)
    os.kill(served.worker().pid, signal.SIGKILL)
    ended = served.ended(job)
    assert ended["state"] == "failed"
    assert "killed by signal 9" in ended["problem"]["detail"]
    assert served.ended(waiting)["state"] == "done"
    assert not (served.folder / "jobs" / job).exists()


def test_a_crop_waits_for_a_window_of_a_full_job_only(serve: Serve) -> None:
    served = serve().ready()
    full = served.submit(**SLOW)["id"]
    served.under_way(full)
    crops = [served.submit(scale="2", region="0,0,64,64")["id"] for _ in range(2)]
    for crop in crops:
        assert served.ended(crop)["state"] == "done"
    assert served.job(full)["state"] == "running"
    step = served.job(full)["step"]
    wait(lambda: served.job(full)["step"] > step)  # it goes on
    served.client.delete(f"/v1/jobs/{full}")


def test_what_stood_still_for_a_crop_outlasts_the_crash_of_it(serve: Serve) -> None:
    served = serve().ready()
    full = served.submit(scale="8")["id"]
    wait(lambda: served.job(full)["share"] > 0)
    crop = served.submit(**SLOW, region="0,0,64,64")["id"]
    served.under_way(crop)
    os.kill(served.worker().pid, signal.SIGKILL)
    assert served.ended(crop)["state"] == "failed"
    assert served.ended(full)["state"] == "done"


def test_jobs_outlast_a_killed_server(serve: Serve) -> None:
    served = serve().ready()
    running = served.submit(model="addsr-small", scale="1")["id"]
    served.under_way(running)
    worker = served.worker()
    waiting = served.submit(scale="1")["id"]
    served.kill()
    wait(lambda: not worker.is_running(), 10)  # it doesn't outlive its server
    again = serve().ready()
    for job in (running, waiting):
        ended = again.ended(job)
        assert ended["state"] == "done", ended["problem"]
        assert again.client.get(ended["result"]["url"]).status_code == 200
    left = [path.name for path in (again.folder / "jobs").rglob("*.part")]
    assert left == []


def test_a_server_killed_in_an_upload_leaves_nothing(serve: Serve) -> None:
    served = serve()
    host, port = served.url.removeprefix("http://").rstrip("/").split(":")
    body = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n' + bytes(3 << 20)
    with socket.create_connection((host, int(port))) as upload:
        upload.sendall(
            f"POST /v1/photos HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: {len(body) + 1000}\r\n\r\n".encode()
            + body
        )
        time.sleep(0.5)
        served.kill()
    again = serve()
    wait(lambda: again.client.get("/livez").status_code == 200)
    for name in ("photos", "jobs", "incoming"):
        assert list((again.folder / name).iterdir()) == []


def test_shutdown_parks_the_running_job_within_5_s(serve: Serve) -> None:
    served = serve().ready()
    job = served.submit(model="seesr-small")["id"]
    served.under_way(job)
    with served.client.stream("GET", "/v1/events") as stream:
        next(stream.iter_lines())
        began = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        served.said = served.process.communicate(timeout=60)[1]
        assert time.monotonic() - began < 5
    assert served.process.returncode in (0, -signal.SIGTERM)
    assert served.said == ""
    again = serve()
    assert again.job(job)["state"] in ("queued", "running")
    again.client.delete(f"/v1/jobs/{job}")


def test_what_was_promised_to_be_forgotten_is(serve: Serve) -> None:
    served = serve("--forget").ready()
    assert served.ended(served.submit(scale="1")["id"])["state"] == "done"
    served.stop()
    assert not served.folder.exists()


def test_what_has_expired_is_deleted(serve: Serve) -> None:
    served = serve("--keep-hours", "24").ready()
    job = served.ended(served.submit(scale="1")["id"])
    served.stop()
    again = serve("--keep-hours", "0.001")  # 3.6 s, and what the test took
    time.sleep(3.6)
    again.stop()
    last = serve("--keep-hours", "0.001")
    wait(lambda: last.client.get(f"/v1/jobs/{job['id']}").status_code == 404, 20)
    assert list((last.folder / "jobs").iterdir()) == list((last.folder / "photos").iterdir()) == []


def test_a_job_that_takes_too_long_is_given_up(serve: Serve) -> None:
    served = serve("--job-minutes", "0.03").ready()
    ended = served.ended(served.submit(**SLOW)["id"])
    assert ended["state"] == "failed"
    assert "took too long (limit 1.8 s)" in ended["problem"]["detail"]
    assert served.ended(served.submit(scale="1")["id"])["state"] == "done"


def test_a_full_disk_is_told(tmp_path: Path, serve: Serve) -> None:
    """What is kept may take no more than it was given, and then the service still answers."""
    served = serve("--max-stored", "20K")
    answer = served.client.post("/v1/photos", files={"photo": ("a.jpg", SAMPLE.read_bytes())})
    again = served.client.post("/v1/photos", files={"photo": ("a.jpg", SAMPLE.read_bytes())})
    assert {answer.status_code, again.status_code} & {507}
    assert "make room" in again.text or "delete jobs" in again.text
    assert served.client.get("/livez").status_code == 200
