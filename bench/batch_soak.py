"""Many photos for long: memory that stays flat, and a folder whose processes are killed again and again.

python bench/batch_soak.py memory [PHOTOS]    10,000 small photos by one process; the memory it holds, now and then
python bench/batch_soak.py overhead [PHOTOS]  60 photos of 128 px; the share of time in which none is restored
python bench/batch_soak.py kills [PHOTOS [KILLS]]  300 photos and 5 bad ones, killed (-9) ten times at random moments:
                                              by one process, by four at once, by Ray with two workers, by both in turn
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from sdsr.batch import finishing
from sdsr.batch.desk import Batch
from sdsr.batch.engine import process
from sdsr.batch.journal import NAME
from sdsr.batch.model import Model
from sdsr.batch.settings import Settings
from sdsr.batch.walking import Naming, plan
from sdsr.engines import load_model
from sdsr.models import DEFAULT_MODEL

BAD = 5
KILLS = 10
MOST_GROWTH_MIB = 64
MOST_OVERHEAD = 0.05
CROP_PX = 128
SAMPLE = Path(__file__).parents[1] / "sdsr" / "assets" / "sample_hq.jpg"
SIZE = (24, 32)


def make_photos(folder: Path, photos: int, bad: int = 0) -> None:
    """Make a tree of small photos, and some that are none."""
    rng = np.random.default_rng(0)
    for number in range(photos):
        path = folder / f"{number % 10}" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)
    for number in range(bad):
        (folder / f"bad{number}.jpg").write_text("no photo")


def upscale(photos: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "sdsr", "upscale", str(photos), "-o", str(out), "--scale", "2", "--json", *more]


def check_memory(root: Path, photos: int) -> bool:
    """Restore the photos, print the memory that is held after each tenth, and return whether it stays flat."""
    make_photos(root / "in", photos)
    held: list[float] = []
    with subprocess.Popen(upscale(root / "in", root / "out"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for number, _ in enumerate(process.stdout, 1):
            if number % max(1, photos // 10) == 0:
                held.append(psutil.Process(process.pid).memory_info().rss / 2**20)
                print(f"{number:>6} photos  {held[-1]:7.0f} MiB", flush=True)
    growth = max(held[1:], default=0.0) - held[0]
    print(f"growth after the first tenth: {growth:.0f} MiB (limit {MOST_GROWTH_MIB})")
    return process.returncode == 0 and growth <= MOST_GROWTH_MIB


def check_overhead(root: Path, photos: int) -> bool:
    """Restore crops of the sample, and return whether the time between restorations is a small share."""
    (root / "in").mkdir()
    with Image.open(SAMPLE) as sample:
        for number in range(photos):
            left, top = (number * step % (side - CROP_PX + 1) for step, side in zip((37, 23), sample.size, strict=True))
            sample.crop((left, top, left + CROP_PX, top + CROP_PX)).save(root / "in" / f"{number:03d}.png")
    spent: list[tuple[float, float]] = []
    own = finishing.restore_looked

    def timed(*arguments: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        try:
            return own(*arguments, **named)
        finally:
            spent.append((begun, time.perf_counter()))

    finishing.restore_looked = timed
    settings = Settings()
    tasks = plan([root / "in"], Naming(request=settings.request), output=root / "out")
    model = Model.described(DEFAULT_MODEL, load_model)
    done = sum(each.status == "done" for each in process(Batch(tasks=tasks, model=model, settings=settings)))
    wall_s = time.perf_counter() - spent[1][0]  # the first one is slower than all others
    restoring_s = sum(end - begun for begun, end in spent[1:])
    overhead = wall_s / restoring_s - 1
    print(f"{done} photos: {wall_s:.2f} s, {restoring_s:.2f} s of it restoring: {overhead:.1%} more")
    return done == photos and overhead <= MOST_OVERHEAD


def check_kills(root: Path, photos: int, kills: int = KILLS) -> bool:
    """Kill each kind of batch at random moments, and return whether results are those of an undisturbed one."""
    make_photos(root / "in", photos, BAD)
    subprocess.run(upscale(root / "in", root / "undisturbed"), stdout=subprocess.DEVNULL, check=False)
    expected = results(root / "undisturbed")
    assert len(expected) == photos
    local: tuple[str, ...] = ()
    on_ray = ("--engine", "ray", "--workers", "2")
    kinds = {"one process": [[local]], "four processes": [[local] * 4]}
    if _has_ray():
        kinds |= {"ray": [[on_ray]], "both in turn": [[local], [on_ray]]}
    good = True
    for kind, rounds in kinds.items():
        out = root / kind.replace(" ", "-")
        began = time.monotonic()
        for number in range(kills):
            _run_and_kill(root / "in", out, rounds[number % len(rounds)], seed=number)
        last = subprocess.run(upscale(root / "in", out), capture_output=True, text=True, check=False)
        good &= _told(kind, out, last.stdout, expected, kills * len(rounds[0]), time.monotonic() - began)
    return good


def results(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")}


def _run_and_kill(photos: Path, out: Path, processes: Sequence[tuple[str, ...]], *, seed: int) -> None:
    """Start processes, and kill them, with all that they started, after a random time of work."""
    started = [
        subprocess.Popen(
            upscale(photos, out, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        for more in processes
    ]
    rng = random.Random(seed)
    enough = _count(out) + rng.randint(1, 12)
    deadline = time.monotonic() + 120
    while _count(out) < enough and time.monotonic() < deadline and any(each.poll() is None for each in started):
        time.sleep(rng.random() / 10)
    for each in started:
        for child in [*_children(each.pid), each.pid]:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        each.wait()


def _children(process: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(process).children(recursive=True)]
    except psutil.Error:
        return []


def _told(kind: str, out: Path, said: str, expected: dict[str, bytes], killed: int, seconds: float) -> bool:
    """Print what became of a folder, and return whether that is right."""
    found = results(out)
    statuses = Counter(json.loads(line)["status"] for line in said.splitlines())
    cut_off, twice = _begun_again(out)
    unequal = sum(found.get(name) != data for name, data in expected.items())
    parts = len(list(out.rglob("*.part")))
    print(
        f"{kind:<15}{len(found):>4} results, {unequal} unlike the undisturbed, {statuses['failed']} reported, {parts} "
        f"half-written, {twice} done twice, {cut_off} cut off and begun again, {killed} killed, {seconds:.0f} s",
        flush=True,
    )
    whole = unequal == 0 and parts == 0 and found.keys() == expected.keys()
    return whole and statuses["failed"] == BAD and twice == 0 and cut_off <= killed


def _begun_again(out: Path) -> tuple[int, int]:
    """Return how often a result was begun again that had been cut off, and one that was noted as done."""
    state: dict[str, str] = {}
    again: Counter[str] = Counter()
    for text in (out / NAME).read_bytes().splitlines():
        if not text.endswith(b"}"):  # cut short by a kill
            continue
        line = json.loads(text)
        if line.get("status") == "begun":
            again[state.get(line["output"], "new")] += 1
        if "status" in line:
            state[line["output"]] = line["status"]
    return again["begun"], again["done"]


def _count(out: Path) -> int:
    return sum(1 for _ in out.rglob("*.png"))


def _has_ray() -> bool:
    there = find_spec("ray") is not None
    if not there:
        print("Ray isn't installed: without it")
    return there


def main() -> None:
    """Run one of the three, in a folder that goes afterwards."""
    checks = {"memory": (check_memory, 10_000), "overhead": (check_overhead, 60), "kills": (check_kills, 300)}
    check, photos = checks[sys.argv[1]]
    root = Path(tempfile.mkdtemp())
    try:
        good = check(root, *map(int, sys.argv[2:] or [photos]))
    finally:
        shutil.rmtree(root)
    sys.exit(0 if good else "not as it must be")


if __name__ == "__main__":
    main()
