"""A service as it is run: `sdsr serve` in a process of its own, spoken to over HTTP."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sdsr" / "assets" / "sample.jpg"
SLOW = {"model": "stablesr-small", "steps": "600"}
"""A job that takes long on any machine, in many short steps."""
PATIENCE_S = 180


class Served:
    """A service in a process of its own, and a client of it."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.folder = folder
        self.command = [sys.executable, "-m", "sdsr", "serve", "--port", "0", "--device", "cpu"]
        self.command += ["--folder", str(folder), *options]
        self.environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "open http" in line, line + self.process.communicate(timeout=30)[1]
        self.url = line.split()[2]
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def worker(self) -> psutil.Process:
        """The process that restores."""
        (found,) = (
            child
            for child in psutil.Process(self.process.pid).children()
            if "sdsr.web.worker" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE
        )
        return found

    def stop(self) -> float:
        """End it as a service manager does; return how many seconds that took."""
        began = time.monotonic()
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        self.said = self.process.communicate(timeout=60)[1]
        return time.monotonic() - began

    def kill(self) -> None:
        """End it at once. Its processes end when they notice, which this doesn't wait for."""
        self.client.close()
        self.process.kill()
        self.process.wait(60)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def ready(self) -> "Served":
        wait(lambda: self.client.get("/readyz").status_code == 200)
        return self

    def submit(self, photo: Path | bytes = SAMPLE, name: str = "photo.jpg", **wishes: str) -> dict[str, Any]:
        """Post a job; return what is said of it."""
        data = photo.read_bytes() if isinstance(photo, Path) else photo
        answer = self.client.post("/v1/jobs", files={"photo": (name, data)}, data=wishes)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def job(self, id: str) -> dict[str, Any]:
        return self.client.get(f"/v1/jobs/{id}").json()

    def ended(self, id: str) -> dict[str, Any]:
        """Wait for a job to end, and return what is said of it."""
        wait(lambda: self.job(id)["state"] not in ("queued", "running"))
        return self.job(id)

    def under_way(self, id: str) -> None:
        """Wait for a job's first step."""
        wait(lambda: self.job(id)["step"] > 0)


def wait(condition: Callable[[], bool], patience_s: float | int = PATIENCE_S) -> None:
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.05)


def problem(answer: httpx.Response) -> Mapping[str, Any]:
    """The problem details of an answer, whose form is checked."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    details = answer.json()
    assert set(details) == {"type", "title", "status", "detail"}
    assert details["status"] == answer.status_code
    assert details["type"].startswith("urn:sdsr:problem:")
    for folder in ("/tmp", "/root", "/home", "/usr", "site-packages"):
        assert folder not in details["detail"]
    return details
