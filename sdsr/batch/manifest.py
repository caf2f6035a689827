"""What is finished in a folder of results, so that a run that was killed goes on where it was.

A hidden file of JSON lines, only ever appended to, by several processes of one machine if need be; another machine that
writes into the folder has a file of its own, as network file systems lose what two of them append to one. Before a
result is written a line says so (`begun`), and when it is on the disk another (`done`) with its sha256. As a result
appears under its name only when it is complete, one that was begun and is there needs no rework either, unless it is
still the one that it `replaces`. Photo and result are known again by size and times, as far as these are old enough to
tell, and else by their sha256.
"""

import hashlib
import json
import logging
import os
import socket
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import BinaryIO, Literal

from sdsr import __version__
from sdsr.batch.entries import Entry, Stamp, Work, parsed, written
from sdsr.batch.objects import parse_object
from sdsr.digests import file_sha256
from sdsr.errors import OutputError

log = logging.getLogger(__name__)

NAME = ".sdsr-manifest.jsonl"
FOLDER = ".sdsr-manifests"
"""Of the files of other machines than the one that began `NAME`."""
_OWN = -1  # origin of what this process noted and hasn't read yet


State = Literal["unknown", "missing", "finished", "changed", "another photo", "other settings", "another version"]


class Manifest:
    """The manifest of one folder of results; the folder and the file come into being with the first line.

    `machine` is what this one is called, if not what it is.
    """

    def __init__(self, root: Path, *, machine: str | None = None) -> None:
        self.root = root
        self._machine = machine
        self._own: Path | None = None
        self.path = root / NAME
        self._prefix = os.path.join(root, "")
        self._entries: dict[str, Entry] = {}
        self._contradicting: dict[str, list[Entry]] = {}
        self._files: list[Path] = [self.path]
        self._seen_bytes: dict[Path, int] = {}
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
        """Note what other manifests say of results that are now in this folder; nothing where there is nothing."""
        if entries:
            self._append(entries)

    def state(self, source: Path | str, target: Path | str, settings_sha256: str, *, read: bool = False) -> State:
        """Return what is known of a result: "unknown" without a note, "missing" without a file.

        It is "finished" if it is what was noted and made from this photo and these settings ("another version" if by
        one), "changed" if it is not what was noted, and else made from "another photo" or by "other settings". With
        `read`, photo and result are read even where size and times tell.
        """
        name = self._name(target)
        entry = self._true_entry(name, target)
        if entry is None:
            return "unknown"
        finished: State = "finished" if entry.version == __version__ else "another version"
        same = entry.work.settings_sha256 == settings_sha256
        if same and not read and entry.known_again(source, target):
            return finished
        if not os.path.isfile(target):
            return "missing"
        stamp = Stamp.of(target)
        output_sha256 = file_sha256(target)
        if not entry.stands_for(output_sha256):
            return "changed"
        if not same:
            return "other settings"
        work = Work.on(source, settings_sha256)
        if work.input_sha256 != entry.work.input_sha256:
            return "another photo"
        self._seen_again[name] = replace(
            entry, work=work, output_sha256=output_sha256, output_stamp=stamp, replaces=None
        )
        return finished

    def noted_since(self, target: Path) -> bool:
        """Whether a process noted this result after this manifest was opened."""
        return self._name(target) in self._noted_since

    def interrupted(self, target: Path | str) -> bool:
        """Whether the result was begun, and by whom it was never noted as done."""
        entry = self._entries.get(self._name(target))
        return entry is not None and entry.output_sha256 is None

    def begin(self, target: Path, work: Work) -> None:
        """Note that a result will be written, where nothing is or what is there may be replaced."""
        replaces = file_sha256(target) if target.is_file() else None
        self._append({self._name(target): Entry(work=work, output_sha256=None, replaces=replaces, version=__version__)})

    def finish(self, target: Path, work: Work) -> None:
        """Note that a result is complete."""
        stamp = Stamp.of(target)
        entry = Entry(work=work, output_sha256=file_sha256(target), output_stamp=stamp, version=__version__)
        self._append({self._name(target): entry})

    def refresh(self) -> None:
        """Read what other processes noted since."""
        with self._lock:
            with suppress(OSError):  # there is no other machine's
                others = {entry.name for entry in os.scandir(self.root / FOLDER) if entry.name.endswith(".jsonl")}
                known = {path.name for path in self._files[1:]}
                self._files += [self.root / FOLDER / name for name in sorted(others - known)]
            for origin, path in enumerate(self._files):
                self._read_on(path, origin)

    def _read_on(self, path: Path, origin: int) -> None:
        seen = self._seen_bytes.get(path, 0)
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < seen:  # another file than before
                    self._entries = {name: each for name, each in self._entries.items() if each.origin != origin}
                    seen = 0
                file.seek(seen)
                for line in file:  # never the whole file at once
                    if not line.endswith(b"\n"):  # being written, or cut short by a kill
                        break
                    seen += len(line)
                    with suppress(ValueError, KeyError, TypeError):  # a line that a kill cut short
                        name, entry = parsed(line, origin)
                        self._learn(name, entry)
                        self._noted_since.add(name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{path} can't be read ({error.strerror}); choose another folder.") from error
        self._seen_bytes[path] = seen

    def _learn(self, name: str, entry: Entry) -> None:
        """Take what was noted last; what two machines note of one result is both kept, as clocks may differ."""
        before = self._entries.get(name)
        if before is not None and before.origin not in (_OWN, entry.origin):
            others = [each for each in self._contradicting.get(name, ()) if each.origin != entry.origin]
            entry, older = (entry, before) if entry.at >= before.at else (before, entry)
            self._contradicting[name] = [*(each for each in others if each.origin != older.origin), older]
        self._entries[name] = entry

    def _true_entry(self, name: str, target: Path | str) -> Entry | None:
        """Return what is noted of a result; where machines contradict each other, by the one that tells of the file."""
        entry = self._entries.get(name)
        others = self._contradicting.get(name)
        if entry is None or not others or not os.path.isfile(target):
            return entry
        sha256 = file_sha256(target)
        return next((each for each in (entry, *others) if each.output_sha256 == sha256), entry)

    def close(self) -> None:
        """Note what was found finished by its sha256, so that the next run knows it by its times."""
        if not self._seen_again:
            return
        try:
            self._append(self._seen_again)
        except OutputError as error:  # then they are read once more
            log.debug("%s", error)

    def _append(self, entries: Mapping[str, Entry]) -> None:
        lines = b"".join(written(name, entry) for name, entry in entries.items())
        with self._lock:
            try:
                self._own = self._own or self._claimed()
                with self._own.open("ab+", buffering=0) as file:  # one write, so that processes don't mix theirs
                    text = _separator(file) + lines
                    if file.write(text) != len(text):
                        raise OSError(0, "only a part was written")
                    os.fsync(file.fileno())
            except OSError as error:
                raise OutputError(
                    f"{self._own or self.path} can't be written ({error.strerror}); free some space or choose another"
                    " folder."
                ) from error
            self._entries |= {name: replace(entry, origin=_OWN) for name, entry in entries.items()}

    def _claimed(self) -> Path:
        """Return the file that this machine appends to: the first one, if it began that, else one of its own."""
        machine = self._machine or this_machine()
        self.root.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), self.path.open("xb") as file:
            file.write(json.dumps({"machine": machine}).encode() + b"\n")
        with self.path.open("rb") as file, suppress(ValueError):
            began = parse_object(file.readline()).get("machine")
            if began not in (None, machine):
                (self.root / FOLDER).mkdir(exist_ok=True)
                return self.root / FOLDER / f"{hashlib.sha256(machine.encode()).hexdigest()[:16]}.jsonl"
        return self.path

    def _name(self, target: Path | str) -> str:
        text = str(target)
        if not text.startswith(self._prefix):
            return Path(target).relative_to(self.root).as_posix()
        return text[len(self._prefix) :].replace(os.sep, "/")


def this_machine() -> str:
    """Return what this machine is called, also after it starts again."""
    with suppress(OSError):
        machine_id = Path("/etc/machine-id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()}-{machine_id}"
    return f"{socket.gethostname()}-{uuid.getnode():x}"


def _separator(file: BinaryIO) -> bytes:
    """Return what must stand before a new line: nothing, but after a line that a kill cut short."""
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"
