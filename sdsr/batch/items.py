"""Photos and results where they are kept, and the marks by which they are known again without being read."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sdsr.digests import file_sha256

_TICK_NS = 20_000_000  # a file that is changed twice within this may keep its time
_COARSE_TICK_NS = 2_000_000_000  # where a file system counts whole seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Size and times of a file, by which it is known again without being read."""

    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path | str) -> "Stamp | None":
        """Return the stamp of a file; None where it can't be seen, or was modified so lately that it would not tell."""
        now = time.time_ns()
        try:
            status = os.stat(path)
        except OSError:
            return None
        tick = _TICK_NS if status.st_mtime_ns % 10**9 else _COARSE_TICK_NS
        if now - status.st_mtime_ns < tick:
            return None
        return cls(size=status.st_size, modified_ns=status.st_mtime_ns, changed_ns=status.st_ctime_ns)

    def fits(self, path: Path | str) -> bool:
        """Whether a file has this size and these times."""
        try:
            status = os.stat(path)
        except OSError:
            return False
        return (
            status.st_mtime_ns == self.modified_ns
            and status.st_size == self.size
            and status.st_ctime_ns == self.changed_ns
        )


Mark = Stamp | str
"""A file's stamp, or the version by which a store knows an object."""


class Item(Protocol):
    """A photo or a result; a result's `name` is its path below the folder of results, with slashes."""

    @property
    def name(self) -> str: ...

    def is_there(self) -> bool: ...

    def mark(self) -> Mark | None:
        """Return its mark; None where it has none, or none that would tell of a change."""
        ...

    def fits(self, mark: Mark) -> bool:
        """Whether it is there, and has this mark."""
        ...

    def file(self) -> Path:
        """Return the file that it is, or a copy of it."""
        ...


@dataclass(frozen=True, slots=True)
class File:
    """A file; paths are text, since there may be very many."""

    path: str
    name: str = ""

    def is_there(self) -> bool:
        return os.path.isfile(self.path)

    def mark(self) -> Mark | None:
        return Stamp.of(self.path)

    def fits(self, mark: Mark) -> bool:
        return isinstance(mark, Stamp) and mark.fits(self.path)

    def file(self) -> Path:
        return Path(self.path)


def sha256_of(item: Item) -> str:
    """Return the sha256 of a photo or a result, which is read for that."""
    return file_sha256(item.file())
