"""A bucket, or a folder in one, by fsspec: whole objects read, written, listed, and made where none is.

Listings are never kept, since other processes write too; and only calls for one object are made, as those for many
take `*`, `?` and `[` in names for patterns.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sdsr.errors import InputError, OutputError
from sdsr.photos.urls import open_file_system

T = TypeVar("T")

ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"})
"""Protocols whose drivers make an object where none is by one request; for others fsspec looks first, then writes."""
# What changes when an object does, the surest first; drivers call it differently.
_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An object as the store tells of it: its size, and what is another when its content is."""

    size: int
    version: str


class Store:
    """The objects below a URL, by their names from there, with slashes. Raises InputError where there is no driver."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.protocol = url.partition("://")[0]
        self._fs, self._root = open_file_system(url)

    def url_to(self, name: str) -> str:
        return f"{self.url}/{name}"

    def listed(self, below: str = "") -> dict[str, Seen]:
        """Return all objects, or those in a folder; without folders and what only marks one."""
        top = self._path(below) if below else self._root
        try:
            found = self._asked(lambda: self._fs.find(top, detail=True), InputError, "listed")
        except FileNotFoundError:
            return {}
        start = len(self._root) + 1
        return {
            path[start:]: _seen(info)
            for path, info in found.items()
            if info.get("type") == "file" and not path.endswith("/") and len(path) > start
        }

    def seen(self, name: str) -> Seen | None:
        """Return what the store tells of an object now; None where there is none."""
        try:
            info = self._asked(lambda: self._fs.info(self._path(name)), InputError, "looked up", name)
        except FileNotFoundError:
            return None
        return _seen(info) if info.get("type") == "file" else None

    def read(self, name: str) -> bytes:
        """Return an object's bytes; FileNotFoundError where there is none."""
        return self._asked(lambda: self._fs.cat_file(self._path(name)), InputError, "read", name)

    def fetch(self, name: str, path: Path) -> None:
        """Copy an object to a file; FileNotFoundError where there is none."""
        self._asked(lambda: self._fs.get_file(self._path(name), str(path)), InputError, "fetched", name)

    def write(self, name: str, data: bytes) -> None:
        self._asked(lambda: self._fs.pipe_file(self._path(name), data), OutputError, "written", name)

    def create(self, name: str, data: bytes) -> bool:
        """Write an object where none is; return whether that was so. Of one request only where `exclusive`."""
        try:
            self._asked(lambda: self._fs.pipe_file(self._path(name), data, mode="create"), OutputError, "written", name)
        except FileExistsError:
            return False
        except OutputError as error:
            if "ConditionalRequestConflict" in str(error):  # S3's word for two at the same moment
                return False
            raise
        return True

    def upload(self, path: Path, name: str) -> Seen:
        """Copy a file to an object, which appears when it is whole; return what the store tells of it then."""
        self._asked(lambda: self._fs.put_file(str(path), self._path(name)), OutputError, "written", name)
        seen = self.seen(name)
        if seen is None or seen.size != path.stat().st_size:
            raise OutputError(f"{self.url_to(name)} isn't what was written, by its size; look what else writes there.")
        return seen

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with suppress(FileNotFoundError):
            self._asked(lambda: self._fs.rm_file(self._path(name)), OutputError, "removed", name)

    def exclusive(self, probe: str) -> bool:
        """Whether an object is made only where none is, and by one request; asked of the store by making one, twice."""
        if self.protocol not in ATOMIC:
            return False
        try:
            self.create(probe, b"1")
            return not self.create(probe, b"2")
        finally:
            self.remove(probe)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _asked(self, call: Callable[[], T], kind: type[InputError | OutputError], verb: str, name: str = "") -> T:
        where = self.url_to(name) if name else self.url
        try:
            return call()
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:  # drivers pass on what their clients raise
            said = " ".join(str(error).split()) or type(error).__name__
            raise kind(
                f"{where} can't be {verb} ({said}); check its name, your credentials and the network."
            ) from error


def _seen(info: dict[str, Any]) -> Seen:
    version = next((str(info[key]) for key in _VERSIONS if info.get(key) is not None), "")
    return Seen(size=int(info.get("size") or 0), version=version)
