"""What is finished in a folder of results, so that a run that was killed goes on where it was.

A hidden file of JSON lines, only ever appended to, by several processes if need be. Before a result is written a line
says so (`begun`), and when it is on the disk another (`done`) with its sha256. As a result appears under its name only
when it is complete, one that was begun and is there needs no rework either. Photo and result are known again by size
and times, as far as these are old enough to tell, and else by their sha256.
"""

import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdsr.digests import file_sha256
from sdsr.errors import OutputError

log = logging.getLogger(__name__)

NAME = ".sdsr-manifest.jsonl"
_TICK_NS = 20_000_000  # a file that is changed twice within this may keep its time
_COARSE_TICK_NS = 2_000_000_000  # where a file system counts whole seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Size and times of a file, by which it is known again without being read."""

    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "Stamp | None":
        """Return the stamp of a file; None where it can't be seen, or was modified so lately that it would not tell."""
        now = time.time_ns()
        try:
            status = path.stat()
        except OSError:
            return None
        tick = _TICK_NS if status.st_mtime_ns % 10**9 else _COARSE_TICK_NS
        if now - status.st_mtime_ns < tick:
            return None
        return cls(size=status.st_size, modified_ns=status.st_mtime_ns, changed_ns=status.st_ctime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a result is made from: the sha256 of the photo, and that of the model and all settings."""

    input_sha256: str
    settings_sha256: str
    input_stamp: Stamp | None = None

    @classmethod
    def on(cls, source: Path, settings_sha256: str) -> "Work":
        """Return the work on a photo as it is now."""
        stamp = Stamp.of(source)  # before it is read: what changes later has another
        return cls(input_sha256=file_sha256(source), settings_sha256=settings_sha256, input_stamp=stamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is noted of a result: its work, and its sha256, which is None while it is only begun."""

    work: Work
    output_sha256: str | None
    output_stamp: Stamp | None = None


class Manifest:
    """The manifest of one folder of results; the folder and the file come into being with the first line."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / NAME
        self._entries: dict[str, Entry] = {}
        self._seen_bytes = 0
        self._seen_again: dict[str, Entry] = {}
        self.refresh()

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What was noted last of each result, by its name below the folder, with slashes."""
        return self._entries

    def adopt(self, entries: Mapping[str, Entry]) -> None:
        """Note what other manifests say of results that are now in this folder; nothing where there is nothing."""
        if entries:
            self._append(entries)

    def finished(self, source: Path, target: Path, settings_sha256: str) -> bool:
        """Whether the result is there, complete and unchanged, and made from just this photo and these settings."""
        name = self._name(target)
        entry = self._entries.get(name)
        if entry is None or entry.work.settings_sha256 != settings_sha256 or not target.is_file():
            return False
        stamps = entry.work.input_stamp, entry.output_stamp
        if None not in stamps and stamps == (Stamp.of(source), Stamp.of(target)):
            return True
        work = Work.on(source, settings_sha256)
        stamp = Stamp.of(target)
        if work.input_sha256 != entry.work.input_sha256:
            return False
        output_sha256 = file_sha256(target)
        if entry.output_sha256 not in (None, output_sha256):
            return False
        self._seen_again[name] = Entry(work=work, output_sha256=output_sha256, output_stamp=stamp)
        return True

    def interrupted(self, target: Path) -> bool:
        """Whether the result was begun, and by whom it was never noted as done."""
        entry = self._entries.get(self._name(target))
        return entry is not None and entry.output_sha256 is None

    def begin(self, target: Path, work: Work) -> None:
        """Note that a result will be written, where nothing is or what is there may be replaced."""
        self._append({self._name(target): Entry(work=work, output_sha256=None)})

    def finish(self, target: Path, work: Work) -> None:
        """Note that a result is complete."""
        stamp = Stamp.of(target)
        self._append({self._name(target): Entry(work=work, output_sha256=file_sha256(target), output_stamp=stamp)})

    def refresh(self) -> None:
        """Read what other processes noted since."""
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._seen_bytes:  # another file than before
                    self._entries.clear()
                    self._seen_bytes = 0
                file.seek(self._seen_bytes)
                data = file.read() if size > self._seen_bytes else b""
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{self.path} can't be read ({error.strerror}); choose another folder.") from error
        whole = data[: data.rfind(b"\n") + 1]
        self._seen_bytes += len(whole)
        for line in whole.splitlines():
            with suppress(ValueError, KeyError, TypeError):  # a line that a kill cut short
                name, entry = _parsed(line)
                self._entries[name] = entry

    def close(self) -> None:
        """Note what was found finished by its sha256, so that the next run knows it by its times."""
        if not self._seen_again:
            return
        try:
            self._append(self._seen_again)
        except OutputError as error:  # then they are read once more
            log.debug("%s", error)

    def _append(self, entries: Mapping[str, Entry]) -> None:
        lines = b"".join(_line(name, entry) for name, entry in entries.items())
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+", buffering=0) as file:  # one write, so that processes don't mix theirs
                text = _separator(file) + lines
                if file.write(text) != len(text):
                    raise OSError(0, "only a part was written")
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                f"{self.path} can't be written ({error.strerror}); free some space or choose another folder."
            ) from error
        self._entries.update(entries)

    def _name(self, target: Path) -> str:
        return target.relative_to(self.root).as_posix()


def _line(name: str, entry: Entry) -> bytes:
    noted = {"status": "begun" if entry.output_sha256 is None else "done", "output": name, **asdict(entry.work)}
    noted |= {"output_sha256": entry.output_sha256, "output_stamp": entry.output_stamp and asdict(entry.output_stamp)}
    return json.dumps(noted).encode() + b"\n"


def _parsed(line: bytes) -> tuple[str, Entry]:
    """Return the result's name and entry; ValueError, KeyError or TypeError for what is no whole line."""
    noted: dict[str, Any] = json.loads(line)
    work = Work(
        input_sha256=noted["input_sha256"],
        settings_sha256=noted["settings_sha256"],
        input_stamp=_stamp(noted.get("input_stamp")),
    )
    stamp = _stamp(noted.get("output_stamp"))
    return noted["output"], Entry(work=work, output_sha256=noted["output_sha256"], output_stamp=stamp)


def _stamp(noted: dict[str, int] | None) -> Stamp | None:
    return None if noted is None else Stamp(**noted)


def _separator(file: Any) -> bytes:
    """Return what must stand before a new line: nothing, but after a line that a kill cut short."""
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"
