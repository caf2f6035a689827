"""What nobody sends who means well."""

import io
import os
import socket
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest
from PIL import Image as pillow

from tests.served import SAMPLE, SLOW, Served, problem, wait
from tests.web.test_bad_files import png

pytestmark = pytest.mark.service
Serve = Callable[..., Served]


def small(format: str) -> bytes:
    data = io.BytesIO()
    pillow.new("RGB", (24, 16), "teal").save(data, format)
    return data.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..\\..\\boot.ini",
        "/etc/passwd",
        "a\x00b.jpg",
        "CON",
        "x" * 5000 + ".jpg",
        "",
        ".",
        "..",
        "%2e%2e%2f",
    ],
    ids=str.encode,
)
def test_a_name_is_a_name_only(service: Served, name: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="' + name.encode() + b'"\r\n\r\n'
    body += SAMPLE.read_bytes() + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = service.client.post("/v1/photos", content=body, headers=headers)
    if answer.status_code == 201:
        shown = answer.json()["name"]
        assert 0 < len(shown) <= 130
        assert not set(shown) & set("/\\\x00")
    else:
        problem(answer)
    assert {path.name for path in (service.folder / "photos").rglob("*.*")} <= {
        "pixels.npy",
        "proxy.webp",
        "thumbnail.webp",
    }


def raw(service: Served, head: str, *parts: bytes, patience_s: float = 20) -> bytes:
    """Send what a client wouldn't; return what is answered."""
    host, port = service.url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=patience_s) as link:
        answer = b""
        with suppress(ConnectionError, TimeoutError):
            link.sendall(head.replace("HOST", host).replace("\n", "\r\n").encode())
            for part in parts:
                link.sendall(part)
            while data := link.recv(65536):
                answer += data
        return answer


FORM = "POST /v1/photos HTTP/1.1\nHost: HOST\nConnection: close\nContent-Type: multipart/form-data; boundary=x\n"
PART = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'


def test_a_png_that_inflates_beyond_its_size_takes_no_more_than_that(service: Served) -> None:
    data = png(8, 8, zlib.compress(bytes(50_000_000)))
    answer = service.client.post("/v1/photos", files={"photo": ("a.png", data)})
    assert answer.status_code in (201, 422)


def test_bodies_that_lie_of_their_length(service: Served) -> None:
    assert b" 413 " in raw(service, f"{FORM}Content-Length: 99999999999\n\n")[:30]
    longer = raw(service, f"{FORM}Content-Length: 100\n\n", PART + bytes(5000))
    assert longer.startswith(b"HTTP/1.1 4")
    raw(service, f"{FORM}Content-Length: 5000\n\n", PART, patience_s=0.5)  # and then nothing
    assert b" 400 " in raw(service, f"{FORM}Content-Length: -5\n\n")[:30]
    assert raw(service, f"{FORM}Transfer-Encoding: chunked\n\n", b"zz\r\n").startswith(b"HTTP/1.1 4")
    assert service.client.get("/livez").status_code == 200


def test_a_body_without_length_is_limited_while_it_arrives(serve: Serve) -> None:
    served = serve("--max-bytes", "1M")

    def body() -> Iterator[bytes]:
        yield PART
        for _ in range(64):
            yield bytes(1 << 20)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with suppress(httpx.TransportError):  # the connection may be closed before all is sent
        assert problem(served.client.post("/v1/photos", content=body(), headers=headers))["status"] == 413
    assert sum(path.stat().st_size for path in served.folder.rglob("*") if path.is_file()) < 2 << 20
    assert served.client.get("/livez").status_code == 200


def test_forms_of_many_parts_are_refused(service: Served) -> None:
    many = service.client.post("/v1/jobs", data={f"field{number}": "x" for number in range(500)})
    assert problem(many)["status"] in (400, 422)
    files = [("photo", (f"{number}.jpg", SAMPLE.read_bytes())) for number in range(20)]
    assert problem(service.client.post("/v1/photos", files=files))["status"] in (400, 422)
    long = service.client.post("/v1/jobs", data={"prompt": "x" * 200_000, "photo_id": "x"})
    assert problem(long)["status"] in (400, 413, 422)


def test_slow_clients_hold_nobody_up(service: Served) -> None:
    host, port = service.url.removeprefix("http://").rstrip("/").split(":")
    links = [socket.create_connection((host, int(port))) for _ in range(60)]
    try:
        for number, link in enumerate(links):
            head = f"{FORM}Content-Length: 100000\n\n" if number % 2 else "GET /v1/models HTTP/1.1\nHost"
            link.sendall(head.replace("HOST", host).replace("\n", "\r\n").encode() + (PART if number % 2 else b""))
        began = time.monotonic()
        assert service.client.get("/livez").status_code == 200
        assert service.submit(scale="1")["state"] == "queued"
        assert time.monotonic() - began < 10
    finally:
        for link in links:
            link.close()


def test_floods_of_tiny_jobs_and_cancels_end_in_429_or_answers(serve: Serve) -> None:
    served = serve("--queue", "20", "--queue-per-client", "20").ready()
    tiny = small("PNG")
    photo = served.submit(tiny, "a.png", scale="1")["photo"]["id"]

    def ask(number: int) -> int:
        answer = served.client.post("/v1/jobs", data={"photo_id": photo, "scale": "1", "seed": str(number)})
        if answer.status_code == 202 and number % 2:
            served.client.delete(f"/v1/jobs/{answer.json()['id']}")
        return answer.status_code

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(ask, range(150)))
    assert set(statuses) <= {202, 429}
    for job in served.client.get("/v1/jobs").json()["jobs"]:
        assert served.ended(job["id"])["state"] in ("done", "canceled")
    assert served.ended(served.submit(tiny, "a.png", scale="1")["id"])["state"] == "done"


def test_jobs_of_ten_clients_are_those_of_one(serve: Serve) -> None:
    served = serve("--queue-per-client", "100").ready()
    data = small("PNG")
    wanted = [str(number % 5) for number in range(50)]
    alone = {}
    for seed in sorted(set(wanted)):
        ended = served.ended(served.submit(data, "a.png", scale="1", seed=seed)["id"])
        assert ended["state"] == "done", ended["problem"]
        alone[seed] = served.client.get(ended["result"]["url"]).content

    def run(seed: str) -> bytes:
        ended = served.ended(served.submit(data, "a.png", scale="1", seed=seed)["id"])
        return served.client.get(ended["result"]["url"]).content

    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(run, wanted))
    assert all(result == alone[seed] for result, seed in zip(results, wanted, strict=True))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="a small disk takes root to mount")
def test_a_full_disk_is_said_and_nothing_half_is_left(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    served = Served(disk / "kept")
    try:
        noise = io.BytesIO()
        pillow.effect_noise((1400, 1400), 90).convert("RGB").save(noise, "PNG")
        answer = served.client.post("/v1/photos", files={"photo": ("a.png", noise.getvalue())})
        assert answer.status_code == 507, answer.text
        problem(answer)
        assert list((served.folder / "photos").iterdir()) == []
        assert served.client.post("/v1/photos", files={"photo": ("b.jpg", SAMPLE.read_bytes())}).status_code == 201
    finally:
        served.kill()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_reader_that_dies_costs_one_upload(service: Served) -> None:
    wait(lambda: service.client.post("/v1/photos", files={"photo": ("a.jpg", SAMPLE.read_bytes())}).status_code == 201)
    (reader,) = (
        child for child in psutil.Process(service.process.pid).children() if "sdsr.web.reader" in child.cmdline()
    )
    reader.kill()
    reader.wait(10)
    answer = service.client.post("/v1/photos", files={"photo": ("a.jpg", SAMPLE.read_bytes())})
    assert answer.status_code in (201, 422)
    assert service.client.post("/v1/photos", files={"photo": ("a.jpg", SAMPLE.read_bytes())}).status_code == 201


def test_the_running_jobs_files_are_not_handed_out(service: Served) -> None:
    job = service.submit(**SLOW)["id"]
    service.under_way(job)
    for path in ("result", "proxy", "map", "tiles/0/0/0"):
        assert problem(service.client.get(f"/v1/jobs/{job}/{path}"))["status"] == 409
    service.client.delete(f"/v1/jobs/{job}")
