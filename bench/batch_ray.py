"""A Ray cluster of this machine: two workers against one that is limited to one core, the driver's memory, a kill.

python bench/batch_ray.py [PHOTOS]

Restores crops of the sample (PHOTOS, 200 by default, of 64 px) by `sdsr upscale --engine ray`, first with one worker on
one core, then with two on two, then with two of which one is killed (-9) at a third. Rates are of what arrives after
the first quarter, so that starts don't count; of the killed one it is counted what was begun again. Wants a machine
that does nothing else, and takes about PHOTOS / 2 seconds there, and a minute for starts.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
from PIL import Image

from sdsr.batch.journal import NAME

LEAST_FASTER = 1.7
MOST_GROWTH_MIB = 32
MOST_AGAIN = 3  # one is read, one restored, one written
CROP_PX = 64
SAMPLE = Path(__file__).parents[1] / "sdsr" / "assets" / "sample_hq.jpg"


def make_photos(folder: Path, photos: int) -> None:
    """Make crops of the sample."""
    folder.mkdir()
    with Image.open(SAMPLE) as sample:
        for number in range(photos):
            left, top = (number * step % (side - CROP_PX + 1) for step, side in zip((37, 23), sample.size, strict=True))
            sample.crop((left, top, left + CROP_PX, top + CROP_PX)).save(folder / f"{number:05d}.png")


def restored(
    photos: Path, out: Path, workers: int, cores: list[int], *, killed: bool = False
) -> tuple[float, list[float]]:
    """Return photos a second, and what the driver held in MiB as each tenth arrived; a worker is killed if wanted."""
    command = [sys.executable, "-m", "sdsr", "upscale", str(photos), "-o", str(out), "--json"]
    command += ["--engine", "ray", "--workers", str(workers)]
    total = sum(1 for _ in photos.iterdir())
    arrivals: list[float] = []
    held: list[float] = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    ) as process:
        assert process.stdout is not None
        for number, _ in enumerate(process.stdout, 1):
            arrivals.append(time.monotonic())
            if number % max(1, total // 10) == 0:
                held.append(psutil.Process(process.pid).memory_info().rss / 2**20)
            if killed and number == total // 3:
                kill_a_worker(process.pid)
    if process.returncode or len(arrivals) != total:
        sys.exit(f"{len(arrivals)} of {total} photos, code {process.returncode}")
    first = total // 4
    return (total - 1 - first) / (arrivals[-1] - arrivals[first]), held


def kill_a_worker(driver: int) -> None:
    for child in psutil.Process(driver).children(recursive=True):
        with suppress(psutil.Error):
            if "_Worker" in " ".join(child.cmdline()):
                child.kill()
                return
    sys.exit("there was no worker to kill")


def begun_again(out: Path) -> int:
    """Return how many results were begun more than once."""
    lines = [json.loads(line) for line in (out / NAME).read_bytes().splitlines()]
    begun = Counter(line["output"] for line in lines if line.get("status") == "begun")
    return sum(count > 1 for count in begun.values())


def main() -> None:
    """Run all three, in a folder that goes afterwards, and print rates, their ratio, the driver's memory, the loss."""
    root = Path(tempfile.mkdtemp())
    cores = sorted(os.sched_getaffinity(0))[:2]
    try:
        make_photos(root / "in", int(sys.argv[1]) if len(sys.argv) > 1 else 200)
        alone, _ = restored(root / "in", root / "one", 1, cores[:1])
        both, held = restored(root / "in", root / "two", 2, cores)
        after_kill, _ = restored(root / "in", root / "killed", 2, cores, killed=True)
        again = begun_again(root / "killed")
    finally:
        shutil.rmtree(root)
    growth = max(held) - held[0]
    faster = both / alone
    print(f"one worker on one core: {alone:.2f} photos/s")
    print(f"two workers on two: {both:.2f} photos/s, {faster:.2f} times that (limit {LEAST_FASTER})")
    print(f"driver: {held[0]:.0f} MiB after a tenth, at most {max(held):.0f} (limit of growth {MOST_GROWTH_MIB})")
    print(
        f"a worker killed at a third: {again} photos begun again (limit {MOST_AGAIN}), {after_kill:.2f} photos/s in all"
    )
    if faster < LEAST_FASTER or growth > MOST_GROWTH_MIB or again > MOST_AGAIN:
        sys.exit("not as it must be")


if __name__ == "__main__":
    main()
