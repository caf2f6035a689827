"""Threads and waiting are set before torch is loaded, by the command line only, and where the user said nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdsr.cli import processors
from sdsr.cli.processors import THREADS, WAITING, share_processors, usable_cores
from tests.commands import REFUSED

SHOWN = "import os; print(*(os.environ.get(name, '-') for name in ('OMP_WAIT_POLICY', 'OMP_NUM_THREADS')))"


def after(code: str, **environment: str) -> list[str]:
    """Return waiting and threads of a fresh process in which nothing is set but `environment`, after the code."""
    clean = {name: value for name, value in os.environ.items() if name not in THREADS + WAITING}
    probe = f"{code}\nimport sys\nassert 'torch' not in sys.modules\n{SHOWN}"
    return subprocess.check_output([sys.executable, "-c", probe], env=clean | environment, text=True).split()


def test_a_command_waits_asleep_on_as_many_threads_as_there_are_cores() -> None:
    assert after(REFUSED) == ["PASSIVE", str(usable_cores())]
    assert after(REFUSED, OMP_WAIT_POLICY="active", OMP_NUM_THREADS="3") == ["active", "3"]
    assert after(REFUSED, GOMP_SPINCOUNT="5", MKL_NUM_THREADS="3") == ["-", "-"]


def test_numpy_has_one_thread_unless_the_user_says_more() -> None:
    shown = f"{REFUSED}\nimport os\nprint(os.environ['OPENBLAS_NUM_THREADS'])"
    clean = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    for said, threads in (({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")):
        told = subprocess.check_output([sys.executable, "-c", shown], env=clean | said, text=True)
        assert told.strip() == threads
    early = "import sys, sdsr.cli.main\nassert 'numpy' not in sys.modules"  # which reads it when it is imported
    subprocess.run([sys.executable, "-c", early], check=True)


def test_importing_sets_nothing() -> None:
    assert after("import sdsr, sdsr.cli.main, sdsr.batch.engine") == ["-", "-"]


@pytest.fixture
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*THREADS, *WAITING, "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "")  # so that what is set here goes afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr(processors, "_SAID", frozenset())
    monkeypatch.setattr(processors, "usable_cores", lambda: 8)


@pytest.mark.usefixtures("unsaid")
@pytest.mark.parametrize(
    ("processes", "world", "threads"), [(1, None, "8"), (3, None, "2"), (20, None, "1"), (1, "4", "2")]
)
def test_processes_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, processes: int, world: str | None, threads: str
) -> None:
    share_processors()
    if world is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", world)
    share_processors(processes)
    assert os.environ["OMP_NUM_THREADS"] == threads


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "odd"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_a_container_has_its_share(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert usable_cores(tmp_path) == (cores or usable_cores(tmp_path / "without"))
