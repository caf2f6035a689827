"""What a command tells C's allocator: freed memory goes back, and pages are large; where the user said nothing."""

import os
import platform
import subprocess
import sys

import pytest

from tests.commands import REFUSED

LARGE_PAGES = "import os; print(os.environ.get('THP_MEM_ALLOC_ENABLE', '-'))"
A_SERVICE_WORKER = """
import os, runpy, sys
leave = os._exit
os._exit = lambda code: (print(os.environ.get("THP_MEM_ALLOC_ENABLE"), file=sys.stderr), leave(code))
sys.argv = ["worker", "cpu", "d3sr-small"]
runpy.run_module("sdsr.web.worker", run_name="__main__")
"""
A_CLUSTER_WORKER = """
from sdsr.batch.desk import Batch
from sdsr.batch.model import Model
from sdsr.batch.ray_engine import _Worker
from sdsr.batch.settings import Settings
_Worker(Batch(tasks=[], model=Model(name="", sha256="", load=dict), settings=Settings()), "a token")
"""
KEPT = """
import ctypes, psutil
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free(libc.malloc(30 << 20))  # whereby glibc learns to keep pieces of this size
before = psutil.Process().memory_info().rss
pieces = [libc.malloc(10 << 20) for _ in range(9)]
for piece in pieces:
    libc.memset(piece, 1, 10 << 20)
for piece in pieces[:-1]:  # the last one stays, at the heap's end
    libc.free(piece)
print((psutil.Process().memory_info().rss - before) >> 20)
"""
with_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own parameters")


def after(code: str, shown: str, **environment: str) -> str:
    """Return what a fresh process shows after the code, with nothing said of allocators but `environment`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "THP_"))}
    command = [sys.executable, "-c", f"{code}\n{shown}"]
    done = subprocess.run(command, env=clean | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (done.stdout or done.stderr).strip()


@with_glibc
def test_a_command_gives_back_what_is_freed_between_others() -> None:
    assert int(after(REFUSED, KEPT)) < 20
    assert int(after("import sdsr, sdsr.cli.main", KEPT)) > 80  # nothing is changed by importing
    assert int(after(REFUSED, KEPT, MALLOC_MMAP_THRESHOLD_=str(32 << 20))) > 80  # nor what the user said


def test_a_command_asks_for_large_pages() -> None:
    assert after(REFUSED, LARGE_PAGES) == "1"
    assert after(REFUSED, LARGE_PAGES, THP_MEM_ALLOC_ENABLE="0") == "0"
    assert after("import sdsr, sdsr.cli.main", LARGE_PAGES) == "-"


def test_so_do_workers_of_the_service_and_of_a_cluster() -> None:
    assert after(A_SERVICE_WORKER, "") == "1"
    assert after(A_CLUSTER_WORKER, LARGE_PAGES) == "1"
