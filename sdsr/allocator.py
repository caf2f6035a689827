"""C's allocator in a process that is ours alone: it keeps little of what was freed, and asks for large pages.

glibc learns to keep pieces of up to 32 MiB, and of several megapixels hardly one fits the next: a process grows by some
70 MiB with each. Here it gives back what it freed from 4 MiB on. New pages cost time; where the system lends pages of
2 MiB to whoever asks (`madvise`, as most do), there are few of them, and 7 % is lost, where convolutions' maps are that
small ("The allocator", docs/speed.md). What the user said of either stays. Python that others write is left alone.
"""

import ctypes
import os

GIVEN_BACK_FROM_BYTES = 4 << 20
KEPT_AT_THE_END_BYTES = 64 << 20  # of the heap, for small pieces to come; what glibc would learn to keep there
_LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # torch asks for them then, from its first tensor on
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's `mallopt`
_SAID = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def keep_little() -> None:
    """Give back what is freed, from now on; before torch makes a tensor. Without glibc nothing of that is changed."""
    os.environ.setdefault(_LARGE_PAGES, "1")
    if os.name != "posix" or any(name in os.environ for name in _SAID):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, GIVEN_BACK_FROM_BYTES)
        mallopt(_TRIM_THRESHOLD, KEPT_AT_THE_END_BYTES)
