"""The sha256 of files."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from sdsr.errors import InputError


def file_sha256(path: Path | str) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_sha256(digests: Iterable[str]) -> str:
    """Return one sha256 for several files: that of their own, sorted and joined by newlines.

    Raises InputError where there are none: the sha256 of nothing would fit everything that lacks its files.
    """
    ordered = sorted(digests)
    if not ordered:
        raise InputError("files (=none) have no sha256 together; give a folder that holds some.")
    return hashlib.sha256("\n".join(ordered).encode()).hexdigest()
