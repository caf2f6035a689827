"""The folder of a service: a folder for each photo and each job, under names that nobody guesses."""

import os
import secrets
import shutil
import time
from pathlib import Path
from typing import IO

from sdsr.errors import InputError, OutputError

_CHUNK = 1 << 20
_RECOUNT_S = 5.0
"""Until what is kept is counted again, which takes the longer the more it is."""


class Files:
    """Where photos and jobs are. `most_bytes` is what all of them may take."""

    def __init__(self, root: Path, most_bytes: int) -> None:
        self.root = root
        self.most_bytes = most_bytes
        self.counted = 0
        self.counted_at = -_RECOUNT_S
        for folder in (root, root / "photos", root / "jobs", root / "incoming"):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"folder (={folder}) can't be used ({error.strerror}); choose another.") from error

    @property
    def incoming(self) -> Path:
        """Where bodies are spooled while they arrive; such files have no name and vanish with the process."""
        return self.root / "incoming"

    def photo(self, id: str) -> Path:
        return self.root / "photos" / id

    def job(self, id: str) -> Path:
        return self.root / "jobs" / id

    def keep(self, upload: IO[bytes], name: str) -> tuple[str, int]:
        """Write an upload into a folder of its own; return its id and how many bytes it has.

        Raises OutputError where there is no room; nothing is left of it then.
        """
        id = secrets.token_urlsafe(24)
        folder = self.photo(id)
        try:
            folder.mkdir(mode=0o700)
            with (folder / name).open("xb") as file:
                shutil.copyfileobj(upload, file, _CHUNK)
                size = file.tell()
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            remove(folder)
            raise OutputError(
                f"the upload could not be kept ({error.strerror}); make room on the server's disk, or delete jobs."
            ) from error
        return id, size

    def begin_job(self, id: str) -> Path:
        """Return the empty folder of a job; what a run that was cut off left there is deleted."""
        folder = self.job(id)
        remove(folder)
        folder.mkdir(mode=0o700)
        return folder

    def used_bytes(self) -> int:
        """Return what all photos and jobs take."""
        return _held(self.root)

    def full(self) -> bool:
        """Whether as much is kept as may be; all of it is counted now and then only, and before it is said to be."""
        now = time.monotonic()
        if self.counted >= self.most_bytes or now - self.counted_at >= _RECOUNT_S:
            self.counted_at = now
            self.counted = self.used_bytes()
        return self.counted >= self.most_bytes

    def note(self, folder: Path) -> None:
        """Count what a folder holds that is new."""
        self.counted += _held(folder)

    def strays(self, jobs: set[str], photos: set[str]) -> set[Path]:
        """Return the folders of what is not known (any more)."""
        found = {*(self.root / "jobs").iterdir(), *(self.root / "photos").iterdir()}
        return found - {*map(self.job, jobs), *map(self.photo, photos)}


def remove(folder: Path) -> None:
    """Delete a folder with all that is in it, where it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def _held(folder: Path) -> int:
    return sum(_size(Path(inner) / name) for inner, _, names in os.walk(folder) for name in names)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
