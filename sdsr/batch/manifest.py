"""What is finished among results, so that a run that was killed goes on where it was.

Lines of JSON are kept beside the results by a journal, such as that of a folder (`sdsr.batch.journal`).
In a folder a line says that a result will be written (`begun`), and when it is on the disk another (`done`) with its
sha256. As a result appears under its name only when it is complete, one that was begun and is there needs no rework
either, unless it is still the one that it `replaces`. Photo and result are known again by their marks (size and times,
or a store's version), as far as these tell, and else by their sha256.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from threading import RLock
from typing import Literal, Protocol

from sdsr import __version__
from sdsr.batch.entries import Entry, Work, parsed, written
from sdsr.batch.items import Item, sha256_of
from sdsr.errors import OutputError

log = logging.getLogger(__name__)

State = Literal[
    "unknown",
    "missing",
    "finished",
    "changed",
    "another photo",
    "other settings",
    "another version",
    "not ours",
    "cut off",
]
"""What is known of a result; see `Manifest.state`. Of a bucket's alone: "not ours", which no note tells of, and "cut
off", which a process wrote that died before it could note that."""


class Journal(Protocol):
    """The lines of several processes, and where this one's go; files of them have numbers."""

    def news(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield lines that are new, each with its file's number; None instead where what it had before is gone."""
        ...

    def append(self, lines: bytes) -> int:
        """Keep lines, for good when this returns; return the number of their file. Raises OutputError."""
        ...


class Manifest:
    """What a journal says of results."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._entries: dict[str, Entry] = {}
        self._contradicting: dict[str, list[Entry]] = {}
        self._seen_again: dict[str, Entry] = {}
        self._noted_since = set[str]()
        self._lock = RLock()  # of threads: one looks, another notes
        self.refresh()
        self._noted_since.clear()

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What was noted last of each result, by its name below the folder, with slashes."""
        return self._entries

    def adopt(self, entries: Mapping[str, Entry]) -> None:
        """Note what other manifests say of results that are now here; nothing where there is nothing."""
        if entries:
            at = round(time.time(), 3)
            entries = {name: replace(entry, at=at) for name, entry in entries.items()}
            with self._lock:
                origin = self._journal.append(b"".join(written(name, entry) for name, entry in entries.items()))
                for name, entry in entries.items():
                    self._learn(name, replace(entry, origin=origin))

    def known(self, photo: Item, result: Item, settings_sha256: str) -> State:
        """Return what marks alone tell of a result: "finished" or "another version", or else "unknown"."""
        for entry in self.noted(result.name):
            if entry.work.settings_sha256 == settings_sha256 and entry.known_again(photo, result):
                return _finished(entry)
        return "unknown"

    def state(self, photo: Item, result: Item, settings_sha256: str, *, read: bool = False) -> State:
        """Return what is known of a result: "unknown" without a note, "missing" where it isn't there.

        It is "finished" if it is what was noted and made from this photo and these settings ("another version" if by
        one), "changed" if it is not what was noted, and else made from "another photo" or by "other settings". With
        `read`, photo and result are read even where marks tell.
        """
        known = "unknown" if read else self.known(photo, result, settings_sha256)
        if known != "unknown":
            return known
        entry = self._true_entry(result)
        if entry is None:
            return "unknown"
        if not result.is_there():
            return "missing"
        mark = result.mark()
        output_sha256 = sha256_of(result) if read or not entry.shows(result) else entry.output_sha256
        if output_sha256 is None or not entry.stands_for(output_sha256):
            return "changed"
        if entry.work.settings_sha256 != settings_sha256:
            return "other settings"
        work = Work.on(photo, settings_sha256)
        if work.input_sha256 != entry.work.input_sha256:
            return "another photo"
        self._seen_again[result.name] = replace(
            entry, work=work, output_sha256=output_sha256, output_mark=mark, replaces=None
        )
        return _finished(entry)

    def noted_since(self, name: str) -> bool:
        """Whether a process noted this result after this manifest was opened."""
        return name in self._noted_since

    def interrupted(self, name: str) -> bool:
        """Whether the result was begun, and by whom it was never noted as done."""
        entry = self._entries.get(name)
        return entry is not None and entry.output_sha256 is None

    def begin(self, result: Item, work: Work) -> None:
        """Note that a result will be written, where nothing is or what is there may be replaced."""
        replaces = sha256_of(result) if result.is_there() else None
        self.adopt({result.name: Entry(work=work, output_sha256=None, replaces=replaces, version=__version__)})

    def finish(self, result: Item, work: Work) -> None:
        """Note that a result is complete."""
        mark = result.mark()
        entry = Entry(work=work, output_sha256=sha256_of(result), output_mark=mark, version=__version__)
        self.adopt({result.name: entry})

    def refresh(self) -> None:
        """Read what other processes noted since."""
        with self._lock:
            for origin, line in self._journal.news():
                if line is None:
                    self._entries = {name: each for name, each in self._entries.items() if each.origin != origin}
                    continue
                with suppress(ValueError, KeyError, TypeError):  # a line that a kill cut short
                    self._learn(*parsed(line, origin))

    def close(self) -> None:
        """Note what was found finished by its sha256, so that the next run knows it by its marks."""
        try:
            self.adopt(self._seen_again)
            self._seen_again = {}
        except OutputError as error:  # then they are read once more
            log.debug("%s", error)

    def _learn(self, name: str, entry: Entry) -> None:
        """Take what was noted last; what two files say of one result is both kept, as clocks may differ."""
        if entry in self.noted(name):  # read again
            return
        self._noted_since.add(name)
        before = self._entries.get(name)
        if before is not None and before.origin != entry.origin:
            others = [each for each in self._contradicting.get(name, ()) if each.origin != entry.origin]
            entry, older = (entry, before) if entry.at >= before.at else (before, entry)
            self._contradicting[name] = [*(each for each in others if each.origin != older.origin), older]
        self._entries[name] = entry

    def noted(self, name: str) -> Iterator[Entry]:
        """Yield what is noted of a result, the last first."""
        if name in self._entries:
            yield self._entries[name]
            yield from self._contradicting.get(name, ())

    def _true_entry(self, result: Item) -> Entry | None:
        """Return what is noted of a result; where files contradict each other, by the one that tells of it."""
        noted = [*self.noted(result.name)]
        if len(noted) < 2 or not result.is_there():
            return noted[0] if noted else None
        shown = next((each for each in noted if each.shows(result)), None)
        if shown is not None:
            return shown
        sha256 = sha256_of(result)
        return next((each for each in noted if each.output_sha256 == sha256), noted[0])


def _finished(entry: Entry) -> State:
    return "finished" if entry.version == __version__ else "another version"
