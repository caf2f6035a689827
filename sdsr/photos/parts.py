"""Files that are being written, beside where they will be; those that a killed process left are found by their name."""

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path


def new_part(target: Path) -> Path:
    """Return a hidden name beside a target, which no other process has, and by which `remove_parts` knows it."""
    return target.parent / f"{_prefix(target)}{secrets.token_hex(8)}.part"


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
