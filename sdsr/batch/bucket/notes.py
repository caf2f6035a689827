"""What is finished in a bucket of results: lines as a folder's manifest has them, in objects that are written anew.

Each process writes its own (`.sdsr-manifests/TOKEN-NUMBER.jsonl`), again and again until it is full; all are read as
one, and so is a folder's manifest that was copied there. What is noted of a photo and a result is their sha256 and by
which version the store knows them, so that neither is read to know them again.
"""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from threading import RLock
from typing import Any

from sdsr import __version__
from sdsr.batch.bucket.store import Seen, Store
from sdsr.batch.journal import FOLDER, NAME
from sdsr.batch.objects import number_of, parse_object, text_of

MOST_BYTES = 256 << 10
"""How large an object of notes gets, as it is written whole with each that is added: some 600 notes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is noted of a result; `output_sha256` None where it was only begun, in a folder that was copied here."""

    input_sha256: str
    settings_sha256: str
    output_sha256: str | None
    input_version: str | None = None
    output_version: str | None = None
    version: str | None = __version__
    at: float = field(default_factory=time.time)

    def fits(self, result: Seen | None) -> bool:
        """Whether the store knows the result by the noted version."""
        return result is not None and self.output_version is not None and result.version == self.output_version


class Notes:
    """The notes of a bucket of results, as far as they were read, and those of this process."""

    def __init__(self, store: Store, token: str) -> None:
        self._store = store
        self._token = token
        self._latest: dict[str, Note] = {}
        self._older: dict[str, list[Note]] = {}
        self._read: dict[str, Seen] = {}
        self._own = b""
        self._number = 1
        self._noted_since = set[str]()
        self._lock = RLock()  # one thread looks, another notes
        self.refresh()
        self._noted_since.clear()

    def of(self, name: str, result: Seen | None) -> Note | None:
        """Return what is noted of a result: what tells of the one that is there, or else what was noted last."""
        with self._lock:
            latest = self._latest.get(name)
            others = self._older.get(name, ())
            return next((each for each in (latest, *others) if each and each.fits(result)), latest)

    def noted_since(self, name: str) -> bool:
        """Whether this result was noted after these notes were opened."""
        return name in self._noted_since

    def refresh(self) -> None:
        """Read what others noted since."""
        with self._lock:
            objects = self._store.listed(FOLDER)
            first = self._store.seen(NAME)
            if first is not None:
                objects[NAME] = first
            for name, seen in sorted(objects.items()):
                ours = name.startswith(f"{FOLDER}/{self._token}-")
                if name.endswith(".jsonl") and not ours and self._read.get(name) != seen:
                    with suppress(FileNotFoundError):
                        self._learn_all(self._store.read(name))
                    self._read[name] = seen

    def add(self, notes: dict[str, Note]) -> None:
        """Note results, for good when this returns."""
        if not notes:
            return
        with self._lock:
            self._own += b"".join(_line(name, note) for name, note in notes.items())
            self._store.write(f"{FOLDER}/{self._token}-{self._number:06d}.jsonl", self._own)
            if len(self._own) > MOST_BYTES:
                self._own = b""
                self._number += 1
            for name, note in notes.items():
                self._learn(name, note)

    def _learn_all(self, data: bytes) -> None:
        for line in data.splitlines():
            with suppress(ValueError, KeyError, TypeError):  # a line that a kill cut short, in a folder's
                noted = parse_object(line)
                self._learn(text_of(noted["output"]), _note_of(noted))

    def _learn(self, name: str, note: Note) -> None:
        before = self._latest.get(name)
        if note == before or note in self._older.get(name, ()):  # read again, as objects are written anew
            return
        self._noted_since.add(name)
        if before is not None:
            note, older = (note, before) if note.at >= before.at else (before, note)
            self._older[name] = [*self._older.get(name, ()), older]
        self._latest[name] = note


def _note_of(noted: dict[str, Any]) -> Note:
    """Return the note of a line; KeyError or TypeError where it has none."""
    output_sha256 = noted["output_sha256"]
    return Note(
        input_sha256=text_of(noted["input_sha256"]),
        settings_sha256=text_of(noted["settings_sha256"]),
        output_sha256=None if output_sha256 is None else text_of(output_sha256),
        input_version=noted.get("input_version"),
        output_version=noted.get("output_version"),
        version=noted.get("version"),
        at=number_of(noted.get("at", 0.0)),
    )


def _line(name: str, note: Note) -> bytes:
    noted = {"status": "done", "output": name, **asdict(note), "at": round(note.at, 3)}
    return json.dumps(noted).encode() + b"\n"
