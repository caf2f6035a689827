"""`sdsr upscale s3://... --engine ray`: workers on one bucket of a server that speaks S3, one of them killed.

The server is Moto's, in a thread of the test; a worker is a process, and finds it by the environment. `make test-ray`
installs it.
"""

import io
import json
import logging
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

pytestmark = pytest.mark.ray
PHOTOS = 8
WAIT_S = 600
NAMES = [f"sub {number % 2}/[{number}]#?*.png" for number in range(PHOTOS)]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an empty bucket called `bucket`, which s3fs finds too."""
    boto3 = import_module("boto3")
    moto = import_module("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    own = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1", "OMP_NUM_THREADS": "1"}
    for name, value in (own | {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    client.close()
    server.stop()


def command(source: str, out: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "sdsr", "upscale", source, "-o", out, "--model", "d3sr-small", "--json", *more]


def statuses(said: str) -> Counter[str]:
    return Counter(json.loads(line)["status"] for line in said.splitlines())


def names(s3: Any, suffix: str) -> list[str]:
    """Return the names of the objects below out/ that end so."""
    listed = s3.list_objects_v2(Bucket="bucket", Prefix="out/").get("Contents", [])
    return [each["Key"].removeprefix("out/") for each in listed if each["Key"].endswith(suffix)]


def objects(s3: Any, suffix: str) -> dict[str, bytes]:
    return {name: s3.get_object(Bucket="bucket", Key=f"out/{name}")["Body"].read() for name in names(s3, suffix)}


def kill_a_worker(driver: "subprocess.Popen[str]", s3: Any) -> None:
    """Kill a worker once there is a second result."""
    deadline = time.monotonic() + WAIT_S
    while len(names(s3, ".png")) < 2 and time.monotonic() < deadline:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.05)
    for child in psutil.Process(driver.pid).children(recursive=True):
        if "_Worker" in " ".join(child.cmdline()):
            child.send_signal(signal.SIGKILL)
            return
    raise AssertionError("there is no worker")


def test_two_workers_share_a_bucket_and_one_is_killed(s3: Any, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        s3.put_object(Bucket="bucket", Key=f"in/{name}", Body=file.getvalue())
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.getvalue())
    s3.put_object(Bucket="bucket", Key="in/broken.jpg", Body=b"no photo")
    on_ray = command("s3://bucket/in", "s3://bucket/out", "--engine", "ray", "--workers", "2")
    with subprocess.Popen(on_ray, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        kill_a_worker(process, s3)
        said, errors = process.communicate(timeout=WAIT_S)
    found = statuses(said)
    assert (process.returncode, found["failed"], found["done"] + found["skipped"]) == (1, 1, PHOTOS), errors
    left = [name for name in names(s3, "") if name.startswith(".sdsr-claims/")]
    assert not left, "neither a lease nor a sign of life is left, of the dead one either"
    noted = [json.loads(line)["output"] for data in objects(s3, ".jsonl").values() for line in data.splitlines()]
    assert set(noted) == set(NAMES)
    assert len(noted) <= PHOTOS + 5, "only what was cut off is done twice"
    folder = command(str(tmp_path / "in"), str(tmp_path / "out"))
    subprocess.run(folder, capture_output=True, timeout=WAIT_S, check=True)
    assert objects(s3, ".png") == {name: (tmp_path / "out" / name).read_bytes() for name in NAMES}
    by_one = subprocess.run(
        command("s3://bucket/in", "s3://bucket/out"), capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert statuses(by_one.stdout) == {"skipped": PHOTOS, "failed": 1}, "another engine goes on where it stopped"
