"""The sha256 of files."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def file_sha256(path: Path | str) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_sha256(digests: Iterable[str]) -> str:
    """Return one sha256 for several files: that of their own, sorted and joined by newlines."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()
