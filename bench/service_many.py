"""Ten thousand tiny jobs through one service, each taken home and deleted: what is left of them, and memory by process.

`python bench/service_many.py [JOBS] [CLIENTS]`; ends with code 1 where rows or files are left, or a job failed.
"""

import sqlite3
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.service_soak import picture
from tests.served import Served

STRETCHES = 10
KIB = 1 << 10


def run(served: Served, number: int) -> str:
    """Queue a job, take its result home, delete all of it; return how it ended."""
    job = served.submit(picture(), "a.png", scale="1", seed=str(number))
    ended = served.ended(job["id"])
    if ended["state"] == "done":
        served.client.get(ended["result"]["url"]).raise_for_status()
    served.client.delete(f"/v1/jobs/{job['id']}").raise_for_status()
    served.client.delete(f"/v1/photos/{job['photo']['id']}").raise_for_status()
    return ended["state"]


def processes(served: Served) -> dict[str, psutil.Process]:
    """The server and its processes, by what they do."""
    server = psutil.Process(served.process.pid)
    children = {next(word for word in child.cmdline() if "sdsr.web" in word)[9:]: child for child in server.children()}
    return {"server": server, **children}


def left(folder: Path) -> tuple[int, int]:
    """Rows of photos and jobs, and files of them."""
    database = sqlite3.connect(folder / "jobs.sqlite")
    rows = sum(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("photos", "jobs"))
    database.close()
    return rows, sum(len(list((folder / name).rglob("*"))) for name in ("photos", "jobs", "incoming"))


def main(jobs: int = 10_000, clients: int = 4) -> int:
    """Print what became of it."""
    ends: Counter = Counter()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        served = Served(Path(folder) / "kept").ready()
        began = time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            for stretch in range(STRETCHES):
                numbers = range(stretch * jobs // STRETCHES, (stretch + 1) * jobs // STRETCHES)
                ends.update(pool.map(lambda number: run(served, number), numbers))
                rows, files = left(served.folder)
                failed |= rows + files > 0
                memory = {name: f"{each.memory_info().rss // KIB} KiB" for name, each in processes(served).items()}
                print(f"{sum(ends.values())} jobs, {time.monotonic() - began:.0f} s, {dict(ends)}: {rows} rows and "
                      f"{files} files left; resident {memory}", flush=True)  # fmt: skip
        served.stop()
    return int(failed or set(ends) != {"done"})


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
