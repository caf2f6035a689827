"""Large pieces of memory go back to the system as soon as they are freed, where C's library is glibc.

Left alone it keeps what was freed in pieces of up to 32 MiB, and finds little use for it: a photo of a megapixel held
100 to 180 MiB more. With pieces below 10 MiB given back, too, that is no less, and a photo of one window takes a tenth
longer; so it does where less than 32 MiB of small ones aren't kept at hand, each page of which is new again otherwise.
torch takes 10 to 20 % longer with this, so where it is loaded nothing is changed.
"""

import ctypes
import os
import platform
import sys

LARGE_BYTES = 10 << 20
AT_HAND_BYTES = 32 << 20
_M_TRIM_THRESHOLD = -1  # <malloc.h>
_M_MMAP_THRESHOLD = -3
_SAID = "MALLOC_MMAP_THRESHOLD_"


def free_large_at_once() -> bool:
    """Ask for it, and return whether it was granted; what the user said in the environment stays."""
    if _SAID in os.environ or "torch" in sys.modules or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES) and libc.mallopt(_M_TRIM_THRESHOLD, AT_HAND_BYTES))
