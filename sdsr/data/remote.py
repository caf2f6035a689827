"""Shards (.tar) by URL: indexed once, and any photo is then one request for its bytes away.

Which photo a step takes is a function of its number, which a stream of shards, as WebDataset's own reader gives, can't
keep. To index a shard reads it through once, by its headers; the index is kept on this machine for that version of it.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import platformdirs

from sdsr.errors import InputError
from sdsr.photos.parts import whole_file
from sdsr.photos.urls import open_file_system

Result = TypeVar("Result")

Members = list[tuple[str, int, int]]
"""Names of files in a shard, where their bytes begin, and how many they are."""
_BLOCK_BYTES = 1 << 20
_LISTED = 3  # counts what is listed of a shard: since the third all formats that are read, and nothing else


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file by its URL."""

    url: str

    def __str__(self) -> str:
        return self.url

    def read(self, offset: int, size: int | None) -> bytes:
        """Return bytes of the file; raise InputError where they can't be had."""
        end = None if size is None else offset + size
        return _asked(self.url, lambda system, path: system.cat_file(path, start=offset, end=end))

    def open(self) -> Any:
        """Return the file, open to be read through: one of fsspec's, which has a file's methods and is none of io's."""
        options = {"block_size": _BLOCK_BYTES, "cache_type": "readahead"}
        return _asked(self.url, lambda system, path: system.open(path, "rb", **options))


def remote_files(url: str) -> tuple[RemoteFile, ...]:
    """Return the files of a URL whose name may be a pattern, sorted; InputError where there is none."""
    found = _asked(url, lambda system, path: sorted(map(system.unstrip_protocol, system.glob(path))))
    if not found:
        raise InputError(f"{url} matches nothing; check the pattern.")
    return tuple(RemoteFile(each) for each in found)


def remembered(file: RemoteFile, index: Callable[[], Members]) -> Members:
    """Return what `index` finds in a file, from the last time if it is the same file still."""
    version = _asked(file.url, lambda system, path: system.ukey(path))
    name = hashlib.sha256(f"{_LISTED} {file.url} {version}".encode()).hexdigest()
    kept = platformdirs.user_cache_path("sdsr", appauthor=False) / "shards" / f"{name}.json"
    with suppress(OSError, ValueError):
        return [(name, offset, size) for name, offset, size in json.loads(kept.read_bytes())]
    members = index()
    with suppress(OSError):  # then it is indexed the next time, too
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(kept) as part:
            part.write_text(json.dumps(members))
    return members


def _asked(url: str, call: Callable[[Any, str], Result]) -> Result:
    try:
        protocol, _, rest = url.partition("://")
        system = _system(protocol, rest.partition("/")[0])
        return call(system, system._strip_protocol(url))
    except InputError:
        raise
    except Exception as error:  # drivers pass on what their clients raise
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{url} can't be read ({said}); check its name, your credentials and the network.") from error


@cache
def _system(protocol: str, bucket: str) -> Any:
    return open_file_system(f"{protocol}://{bucket}")[0]
