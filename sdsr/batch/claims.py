"""Which of several processes restores a photo: whoever locks a file for it, until that process lets go or dies.

The locks are the operating system's, so nothing has to expire: what a killed process held is free at once.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sdsr.errors import OutputError

if TYPE_CHECKING:
    from filelock import BaseFileLock


@contextmanager
def claimed(root: Path, target: Path) -> Iterator[bool]:
    """Yield whether this process alone may write `target`, below the folder of results `root`, until the block ends.

    Makes the folder, which goes again where it stays empty. Raises OutputError where it can't be written.
    """
    from filelock import FileLock, Timeout, UnixFileLock

    path = _lock_path(root, target)
    made = not os.path.exists(root)
    lock = FileLock(path, thread_local=False)
    try:
        _acquire(lock, root)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise OutputError(f"folder (={root}) can't be written ({error.strerror}); choose another.") from error
    try:
        yield True
    finally:
        if isinstance(lock, UnixFileLock):  # the others remove theirs on release
            path.unlink(missing_ok=True)  # before the release: whoever waits for this very file sees that it is gone
        lock.release()
        if made:
            with suppress(OSError):
                root.rmdir()


def _acquire(lock: "BaseFileLock", root: Path) -> None:
    for last in (False, False, True):
        root.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
            return
        except FileNotFoundError:  # another process found its new folder empty and removed it just now
            if last:
                raise


def remove_abandoned(root: Path) -> None:
    """Remove the lock files that killed processes left in a folder of results; those in use stay."""
    from filelock import FileLock, Timeout

    for path in root.glob(".sdsr-*.lock"):
        with suppress(Timeout, OSError), FileLock(path, timeout=0, thread_local=False):
            path.unlink(missing_ok=True)


def count_claims(root: Path) -> int:
    """Return how many photos are being restored into a folder of results at this moment."""
    from filelock import FileLock, Timeout

    held = 0
    for path in root.glob(".sdsr-*.lock"):
        try:
            with FileLock(path, timeout=0, thread_local=False):
                pass
        except Timeout:
            held += 1
        except OSError:  # it went away
            continue
    return held


def _lock_path(root: Path, target: Path) -> Path:
    name = target.relative_to(root).as_posix()
    return root / f".sdsr-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:16]}.lock"
