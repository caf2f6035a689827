"""What is freed goes back to the system, which a process's own memory shows."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from sdsr.graphs.allocating import free_large_at_once

PROGRAM = """
import ctypes, sys
import psutil
from sdsr.graphs.allocating import free_large_at_once

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
asked = sys.argv[1] == "yes" and free_large_at_once()
libc.free(libc.malloc(31 << 20))  # from now on glibc keeps pieces of that size
pieces = [libc.malloc(16 << 20) for _ in range(8)]
for piece in pieces:
    libc.memset(piece, 1, 16 << 20)
for piece in pieces[:-1]:
    libc.free(piece)
print(asked, psutil.Process().memory_info().rss >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_is_freed_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    held = {}
    for asked in ("no", "yes"):
        command = [sys.executable, "-c", PROGRAM, asked]
        granted, mib = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert granted == str(asked == "yes")
        held[asked] = int(mib)
    assert held["yes"] < held["no"] - 64


def test_what_the_user_said_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    assert not free_large_at_once()


def test_torch_keeps_its_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    monkeypatch.setitem(sys.modules, "torch", sys)
    assert not free_large_at_once()


REPEATED = """
import sys
import numpy as np
from bench.memory import forget_peak, resident
from sdsr.engines import SMALL_PRIOR
from sdsr.graphs.description import DETAILED, read_graphs
from sdsr.graphs.sessions import open_graphs
from sdsr.models import find_model

folder = find_model("d3sr-small").folder
graph = open_graphs(folder, read_graphs(folder), (SMALL_PRIOR,))[DETAILED]
for _ in range(2):
    given = {"latent": np.zeros((1, 32, 72, 69), np.float32), "enlarged": np.zeros((1, 3, 576, 552), np.float32)}
    for array in given.values():
        array += 0.5
    before = resident("VmRSS")
    forget_peak()
    graph(**given)
    print((resident("VmHWM") - before) / (576 * 552))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells a peak that can be forgotten")
def test_a_size_seen_before_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two maps of 64 channels at H/2; by a pattern of the first run it would be one block with holes."""
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "131072")
    told = subprocess.run([sys.executable, "-c", REPEATED], check=True, capture_output=True, text=True).stdout
    first, again = map(float, told.split())
    assert again < 135
    assert again <= first + 1
