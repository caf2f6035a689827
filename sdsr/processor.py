"""The class of this machine's processor, which figures are told with; imports nothing that computes."""

import os
import platform
from functools import cache
from pathlib import Path

CLASSES = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512-BF16", "avx512f": "AVX-512", "avx2": "AVX2"}
"""By the first of these flags that a processor has."""

MULTIPLY_BFLOAT16 = ("AMX", "AVX-512-BF16")
"""The classes that compute in it faster than in float32."""

_CPUINFO = Path("/proc/cpuinfo")
_NUMPY = {"AVX512_SPR": "avx512_bf16", "X86_V4": "avx512f", "AVX512_SKX": "avx512f", "X86_V3": "avx2", "AVX2": "avx2"}
_TOLD = {"avx2": ("avx2",), "default": ()}
"""What is left of the flags under ATEN_CPU_CAPABILITY, which torch goes by."""


@cache
def processor_class() -> str:
    """Return "AMX", "AVX-512-BF16", "AVX-512", "AVX2", "Arm", or what the machine calls itself.

    Where ATEN_CPU_CAPABILITY lets torch compute as on a lesser processor, it is that one's.
    """
    return class_of(_flags(), platform.machine(), os.environ.get("ATEN_CPU_CAPABILITY", ""))


def class_of(flags: frozenset[str], machine: str, told: str = "") -> str:
    """Return the class of a processor with these flags, on a machine that calls itself so; `told` is torch's limit."""
    if machine.lower().startswith(("arm", "aarch")):
        return "Arm"
    if told.lower() in _TOLD:
        flags = flags & frozenset(_TOLD[told.lower()])
    return next((name for flag, name in CLASSES.items() if flag in flags), machine or "unknown")


def processor_name() -> str:
    """Return what the processor is called."""
    told = _CPUINFO.read_text() if _CPUINFO.is_file() else ""
    return told.partition("model name")[2].partition("\n")[0].strip("\t: ") or platform.processor()


def _flags() -> frozenset[str]:
    """The processor's flags as Linux calls them; elsewhere those that NumPy found."""
    if _CPUINFO.is_file():
        return frozenset(_CPUINFO.read_text().partition("flags")[2].partition("\n")[0].split())
    import numpy as np

    found = np.show_config(mode="dicts") or {}
    names = found.get("SIMD Extensions", {}).get("found", ())
    return frozenset(_NUMPY[name] for name in names if name in _NUMPY)
