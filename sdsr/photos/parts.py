"""Files that are being written, beside where they will be; those that a killed process left are found by their name."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def new_part(target: Path) -> Path:
    """Return a hidden name beside a target, which no other process has, and by which `remove_parts` knows it."""
    return target.parent / f"{_prefix(target)}{secrets.token_hex(8)}.part"


@contextmanager
def whole_file(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a path to write to, which takes the target's name when the block ends well; else nothing is left of it.

    `durable`: all its bytes are on the disk before that.
    """
    part = new_part(target)
    try:
        yield part
        if durable:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink()


def remove_parts(target: Path) -> None:
    """Remove what was begun of a target and given up; only for who is alone in writing it."""
    prefix = _prefix(target)
    with suppress(OSError):
        for entry in os.scandir(target.parent):
            if entry.name.startswith(prefix) and entry.name.endswith(".part"):
                with suppress(OSError):
                    os.unlink(entry.path)


def _prefix(target: Path) -> str:
    return f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}-"
