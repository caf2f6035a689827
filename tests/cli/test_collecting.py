"""Garbage in cycles is looked for while a command works, and no more among what is left when its process ends."""

import subprocess
import sys

_PROBE = """
import atexit, gc

def tell():
    print(f"frozen={gc.get_freeze_count() > 1000} left={len(gc.get_objects()) < 1000}")

atexit.register(tell)  # called last
from sdsr.cli import main
import sdsr.cli.models as models
models.print_tables = lambda tables: print(f"on={gc.isenabled()}")
main.main()
"""


def test_garbage_is_looked_for_while_a_command_works_alone() -> None:
    done = subprocess.run([sys.executable, "-c", _PROBE, "models"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["on=True", "frozen=True", "left=True"]
