"""Record what must not change (write), compare this tree with it (check), or list key maps in full (names keys)."""

import argparse
import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from tests.recorded import access
from tests.recorded.kinds import KINDS, Kind, forget, keep, names_of


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.recorded", description=__doc__)
    parser.add_argument("task", choices=("write", "check", "names"))
    parser.add_argument("kind", nargs="?", choices=tuple(KINDS), help="one kind; all without it")
    parser.add_argument("name", nargs="*", help="of that kind: a method, a format, a recipe/stage; all without")
    parser.add_argument("--exact", action="store_true", help="compare as one machine must: pixels by their bytes")
    given = parser.parse_args()
    if given.task == "names":
        for name in given.name or access.published_formats():
            print(*(f"{name}: {line}" for line in names_of(name)), sep="\n")
        return 0
    torch.set_num_threads(1)
    failures = []
    for kind in [KINDS[given.kind]] if given.kind else KINDS.values():
        failures += _done(kind, given.name, write=given.task == "write", exact=given.exact)
    print(*failures, sep="\n")
    print(f"{len(failures)} differences" if failures else "all as recorded")
    return int(bool(failures))


def _done(kind: Kind, wanted: list[str], *, write: bool, exact: bool) -> list[str]:
    """Write or check the records of a kind; return what is no longer so."""
    failures = []
    for name in wanted or kind.names():
        began = time.process_time()
        try:
            found = kind.compute(name)
            if write:
                keep(kind, name, found)
            else:
                failures += kind.check(name, exact=exact, found=found)
        except Exception as error:  # the others are told of all the same
            failures.append(f"{kind.name} {name}: {type(error).__name__}: {error}")
        print(f"{kind.name} {name}: {time.process_time() - began:.1f} s of one core", file=sys.stderr, flush=True)
    if not wanted and write:
        forget(kind, kind.names())
    elif not wanted:
        gone = sorted(kind.read().keys() - set(kind.names()))
        failures += [f"{kind.name} {name}: recorded, and there is no such thing" for name in gone]
    return failures


if __name__ == "__main__":
    sys.exit(main())
