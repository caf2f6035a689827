"""`sdsr upscale --engine ray` on a cluster of this machine: two workers, one killed, and another engine before.

Half a minute on idle cores. How long processes are waited for tells a hanging one from one on a busy machine.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from sdsr.batch.journal import NAME

pytestmark = pytest.mark.ray
PHOTOS = 8
WAIT_S = 600
MODEL = "d3sr-small"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "in"
    (folder / "sub").mkdir(parents=True)
    for number in range(PHOTOS):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("sub" if number % 2 else "") / f"{number}.png")
    (folder / "broken.jpg").write_text("no photo")
    return folder


def command(tree: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "sdsr", "upscale", str(tree), "-o", str(out), "--model", MODEL, "--json", *more]


def lines(said: str) -> Counter[str]:
    return Counter(json.loads(line)["status"] for line in said.splitlines())


def results(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")}


def test_two_workers_one_killed_and_the_rest_by_another_engine(tree: Path) -> None:
    out = tree.parent / "out"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    some = command(tree, out, "--limit", "3")
    first = subprocess.run(some, env=environment, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert lines(first.stdout)["done"] == 3, first.stderr
    on_ray = command(tree, out, "--engine", "ray", "--workers", "2")
    with subprocess.Popen(
        on_ray, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        killed = kill_a_worker(process, out)
        said, errors = process.communicate(timeout=WAIT_S)
    assert killed, errors
    assert process.returncode == 1, errors
    found = lines(said)
    assert found["failed"] == 1
    assert found["done"] + found["skipped"] == PHOTOS
    begun = Counter(
        line["output"]
        for line in map(json.loads, (out / NAME).read_bytes().splitlines())
        if line.get("status") == "begun"
    )
    assert set(begun) == set(results(out))
    assert sum(begun.values()) <= PHOTOS + 2, "only what was cut off is done twice"
    undisturbed = tree.parent / "undisturbed"
    subprocess.run(command(tree, undisturbed), env=environment, capture_output=True, timeout=WAIT_S, check=False)
    assert results(out) == results(undisturbed)
    assert not (out / ".sdsr-claims").exists() or not list((out / ".sdsr-claims").glob("*.[0-9]"))


def kill_a_worker(driver: "subprocess.Popen[str]", out: Path) -> bool:
    """Kill a worker once there is a fourth result; return whether there was one."""
    deadline = time.monotonic() + WAIT_S
    while len(results(out)) < 4 and time.monotonic() < deadline:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.02)
    for child in psutil.Process(driver.pid).children(recursive=True):
        try:
            if "_Worker" in " ".join(child.cmdline()):
                child.send_signal(signal.SIGKILL)
                return True
        except psutil.Error:
            continue
    return False


def test_failures_do_not_count_as_restored(tree: Path) -> None:
    out = tree.parent / "limited"
    limited = command(tree, out, "--engine", "ray", "--workers", "2", "--limit", "5")  # one of the first five is broken
    done = subprocess.run(limited, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert lines(done.stdout) == {"done": 5, "failed": 1}, done.stderr
    assert len(results(out)) == 5


def test_a_cluster_that_is_not_there_is_told(tree: Path) -> None:
    gone = command(tree, tree.parent / "none", "--engine", "ray", "--address", "127.0.0.1:1")
    done = subprocess.run(gone, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 2
    assert "leads to no Ray cluster" in done.stderr
    assert "Traceback" not in done.stderr
