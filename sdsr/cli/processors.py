"""How this machine's processors are shared: said before torch is loaded, and only where the user said nothing.

Threads that wait do so asleep, not spinning, so that another program (or another `sdsr`) on the same cores is not
slowed down; and there are as many as there are cores to run on, in containers with a share of them too. NumPy's
products are small; the threads of its OpenBLAS would wait spinning, so it has one.
"""

import math
import os
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
_SAID = frozenset(name for name in THREADS + WAITING if name in os.environ)  # before any of it is ours
_CGROUP = Path("/sys/fs/cgroup")


def share_processors(processes: int = 1) -> None:
    """Set the environment for `processes` that compute at once; torch and processes started later read it."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if not _SAID & set(WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    if not _SAID & set(THREADS):
        processes *= _positive(os.environ.get("LOCAL_WORLD_SIZE"))  # of torchrun and accelerate
        os.environ["OMP_NUM_THREADS"] = str(max(1, usable_cores() // processes))


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Return how many cores this process may keep busy: those of the machine, its affinity, its container's share."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    physical = psutil.cpu_count(logical=False) or allowed
    return max(1, min(allowed, physical, _quota(cgroup)))


def _quota(cgroup: Path) -> int:
    """Return the cores that a container's share of time amounts to, rounded up; very many where it has no limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        except OSError:
            return 1 << 16
    share = _positive(quota, 0) / _positive(period)
    return math.ceil(share) or 1 << 16


def _positive(text: str | None, otherwise: int = 1) -> int:
    """Return a whole number above 0; `otherwise` for what is none ("max", -1)."""
    text = (text or "").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else otherwise
