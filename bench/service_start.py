"""How soon the page of `sdsr serve` can be used, counted from the command: median and worst of some starts.

`python bench/service_start.py [STARTS]`; ends with code 1 where the page took longer than 3 s in the median.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.served import SAMPLE, Served

MOST_PAGE_S = 3.0
PARTS = ("/", "/main.js", "/page.css", "/wishes.js", "/stage.js", "/compare.js", "/shelf.js")


def page(served: Served) -> None:
    """All that the page asks for before something can be dropped on it."""
    for path in PARTS:
        served.client.get(path).raise_for_status()
    models = served.client.get("/v1/models").raise_for_status().json()["models"]
    assert all(model["steps"] for model in models), "what can be wished of each model is known"
    served.client.get("/v1/photos").raise_for_status()


def photo(served: Served) -> None:
    """The first photo, decoded."""
    served.client.post("/v1/photos", files={"photo": ("a.jpg", SAMPLE.read_bytes())}).raise_for_status()


def result(served: Served) -> None:
    """The first photo of 128 px, restored twice as large."""
    ended = served.ended(served.submit(scale="2")["id"])
    assert ended["state"] == "done", ended["problem"]


MOMENTS: dict[str, Callable[[Served], object]] = {
    "page and models": page,
    "first photo decoded": photo,
    "model loaded": Served.ready,
    "first result (128 px, x2)": result,
}


def start() -> list[float]:
    """Return the seconds until each moment."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        served = Served(Path(folder) / "kept")
        times = []
        for reach in MOMENTS.values():
            reach(served)
            times.append(time.monotonic() - began)
        served.stop()
    return times


def main(starts: int = 5) -> int:
    """Print what became of it."""
    rows = [start() for _ in range(starts)]
    print(f"seconds from the command, {starts} starts: median (worst)")
    for name, times in zip(MOMENTS, zip(*rows, strict=True), strict=True):
        print(f"{name:28} {statistics.median(times):6.2f} ({max(times):.2f})")
    return int(statistics.median(row[0] for row in rows) > MOST_PAGE_S)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
