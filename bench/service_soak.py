"""A hundred clients of a service for minutes, within and beyond its queue: statuses, latency, memory and its slope.

`python bench/service_soak.py [SECONDS] [CLIENTS]`; ends with code 1 where an answer was a 5xx.
"""

import io
import itertools
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx2 as httpx
import numpy as np
import psutil
from PIL import Image as pillow

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.served import Served

QUEUE = 24
SETTLED = 0.3
"""The first share of the time, in which pools fill, is left out of the slope."""


def picture() -> bytes:
    """A PNG of 24 x 16 pixels."""
    data = io.BytesIO()
    pillow.new("RGB", (24, 16), "teal").save(data, "PNG")
    return data.getvalue()


def client(url: str, until: float, seed: int, statuses: Counter, times: list[float]) -> None:
    """Queue, look, listen to a refusal, take home, delete; again and again."""
    data = picture()
    with httpx.Client(base_url=url, timeout=60) as service:
        for number in itertools.count():
            if time.monotonic() > until:
                return
            began = time.monotonic()
            answer = service.post(
                "/v1/jobs", files={"photo": ("a.png", data)}, data={"scale": "1", "seed": str(seed + number)}
            )
            statuses[answer.status_code] += 1
            times.append(time.monotonic() - began)
            if answer.status_code != 202:
                time.sleep(0.5)
                continue
            job = answer.json()
            while service.get(f"/v1/jobs/{job['id']}").json()["state"] in ("queued", "running"):
                time.sleep(0.2)
            statuses[service.get(f"/v1/jobs/{job['id']}/result").status_code] += 1
            statuses[service.delete(f"/v1/jobs/{job['id']}").status_code] += 1
            service.delete(f"/v1/photos/{job['photo']['id']}")


def resident(served: Served) -> dict[str, int]:
    """Bytes that the server and its processes hold."""
    server = psutil.Process(served.process.pid)
    children = {next(word for word in child.cmdline() if "sdsr.web" in word)[9:]: child for child in server.children()}
    return {name: process.memory_info().rss for name, process in {"server": server, **children}.items()}


def main(seconds: float = 300, clients: int = 100) -> int:
    """Print what became of it."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--queue", str(QUEUE), "--queue-per-client", str(QUEUE))
        served = Served(Path(folder) / "kept", *options).ready()
        statuses: Counter = Counter()
        times: list[float] = []
        began = time.monotonic()
        arguments = [(served.url, began + seconds, 1000 * number, statuses, times) for number in range(clients)]
        threads = [threading.Thread(target=client, args=each) for each in arguments]
        for thread in threads:
            thread.start()
        memory = []
        while any(thread.is_alive() for thread in threads):
            memory.append((time.monotonic() - began, resident(served)))
            time.sleep(1)
        served.stop()
    print(f"{clients} clients, {seconds:g} s, queue of {QUEUE}: statuses {dict(sorted(statuses.items()))}")
    print(f"time to an answer: median {np.median(times):.2f} s, 99 % within {np.quantile(times, 0.99):.2f} s")
    for name in memory[-1][1]:
        settled = np.array([(at, held[name]) for at, held in memory if at > SETTLED * seconds])
        slope = np.polyfit(settled[:, 0] / 60, settled[:, 1] / 2**20, 1)[0]
        first, last = settled[0, 1] / 2**20, settled[-1, 1] / 2**20
        print(f"resident, {name}: {first:.1f} MiB, then {last:.1f} MiB; {slope:+.2f} MiB a minute")
    return int(any(status >= 500 for status in statuses))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
