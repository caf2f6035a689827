"""Python's search for garbage in cycles, kept from a command's start and end, where there is next to none.

Imports make tens of thousands of objects that stay. Looking through them took 0.04 s of a start, and 0.12 s of an end,
when Python looks several times before it leaves and the system takes all memory anyway (two AVX2 cores, medians).
"""

import atexit
import gc


def collect_nothing_yet() -> None:
    """Look for no garbage until `collect_from_now`, and for none that is there when the process ends."""
    gc.disable()
    atexit.register(gc.freeze)


def collect_from_now() -> None:
    """Look for garbage again, not among what is there: modules, and the command line."""
    gc.freeze()
    gc.enable()
