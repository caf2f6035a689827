"""What is freed goes back to the system, which a process's own memory shows."""

import platform
import subprocess
import sys

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
