"""What is noted of the results of a bucket: lines as a folder has them, in objects that are written anew.

Each process writes its own (`.sdsr-manifests/TOKEN-NUMBER.jsonl`), again and again until it is full; all are read as
one, and so are a folder's that were copied there.
"""

from collections.abc import Iterator
from contextlib import suppress

from sdsr.batch.bucket.store import Seen, Store
from sdsr.batch.journal import FOLDER, NAME

MOST_BYTES = 256 << 10
"""How large an object of notes gets, as it is written whole with each that is added: some 600 notes."""
_OWN = 0


class BucketJournal:
    """The lines in a bucket; those of this process, which has a `token`, aren't read."""

    def __init__(self, store: Store, token: str) -> None:
        self._store = store
        self._own = f"{FOLDER}/{token}-"
        self._read: dict[str, Seen] = {}
        self._lines = b""
        self._number = 1

    def news(self) -> Iterator[tuple[int, bytes]]:
        objects = self._store.listed(FOLDER)
        first = self._store.seen(NAME)
        if first is not None:
            objects[NAME] = first
        for name, seen in sorted(objects.items()):
            if name.endswith(".jsonl") and not name.startswith(self._own) and self._read.get(name) != seen:
                with suppress(FileNotFoundError):
                    lines = self._store.read(name).splitlines()
                    number = 1 + [*self._read, name].index(name)
                    self._read[name] = seen
                    yield from ((number, line) for line in lines)

    def append(self, lines: bytes) -> int:
        self._lines += lines
        self._store.write(f"{self._own}{self._number:06d}.jsonl", self._lines)
        if len(self._lines) > MOST_BYTES:
            self._lines = b""
            self._number += 1
        return _OWN
