"""Large pieces of memory go back to the system as soon as they are freed, where C's library is glibc.

Left alone it keeps what was freed in pieces of up to 32 MiB, and finds little use for it: a photo of a megapixel held
100 to 180 MiB more. With pieces below 10 MiB given back, too, that is no less, and a photo of one window takes a tenth
longer. torch takes 10 to 20 % longer with this, so where it is loaded nothing is changed.
"""

import ctypes
import os
import platform
import sys

LARGE_BYTES = 10 << 20
_M_MMAP_THRESHOLD = -3  # <malloc.h>
_SAID = "MALLOC_MMAP_THRESHOLD_"


def free_large_at_once() -> bool:
    """Ask for it, and return whether it was granted; what the user said in the environment stays."""
    if _SAID in os.environ or "torch" in sys.modules or platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
