"""What a manifest notes of a result, as it is known again and as a line of JSON."""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from sdsr.batch.objects import number_of, parse_object, text_of
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a result is made from: the sha256 of the photo, and that of the model and all settings."""

    input_sha256: str
    settings_sha256: str
    input_stamp: Stamp | None = None

    @classmethod
    def on(cls, source: Path | str, settings_sha256: str) -> "Work":
        """Return the work on a photo as it is now."""
        stamp = Stamp.of(source)  # before it is read: what changes later has another
        return cls(input_sha256=file_sha256(source), settings_sha256=settings_sha256, input_stamp=stamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is noted of a result: its work, and its sha256, which is None while it is only begun.

    `replaces` is the sha256 of what was there under its name when it was begun, `version` that of sdsr. It was noted
    at a time `at` by its machine's clock, in the file number `origin` of those that were read.
    """

    work: Work
    output_sha256: str | None
    output_stamp: Stamp | None = None
    replaces: str | None = None
    version: str | None = None
    at: float = 0.0
    origin: int = 0

    def known_again(self, source: Path | str, target: Path | str) -> bool:
        """Whether photo and result are those that it tells of, by size and times."""
        given = self.work.input_stamp
        made = self.output_stamp
        return given is not None and made is not None and made.fits(target) and given.fits(source)

    def stands_for(self, sha256: str) -> bool:
        """Whether a file of this sha256 is what the entry tells of."""
        return sha256 == self.output_sha256 if self.output_sha256 is not None else sha256 != self.replaces


def written(name: str, entry: Entry) -> bytes:
    noted = {"status": "begun" if entry.output_sha256 is None else "done", "output": name, **asdict(entry.work)}
    noted |= {"output_sha256": entry.output_sha256, "output_stamp": entry.output_stamp and asdict(entry.output_stamp)}
    noted |= {"replaces": entry.replaces} if entry.replaces else {}
    noted |= {"version": entry.version, "at": round(time.time(), 3)}
    return json.dumps(noted).encode() + b"\n"


def parsed(line: bytes, origin: int) -> tuple[str, Entry]:
    """Return the result's name and entry; ValueError, KeyError or TypeError for what is no whole line."""
    noted = parse_object(line)
    output_sha256 = noted["output_sha256"]
    work = Work(
        input_sha256=text_of(noted["input_sha256"]),
        settings_sha256=sys.intern(noted["settings_sha256"]),
        input_stamp=_stamp(noted.get("input_stamp")),
    )
    stamp = _stamp(noted.get("output_stamp"))
    entry = Entry(
        work=work,
        output_sha256=None if output_sha256 is None else text_of(output_sha256),
        output_stamp=stamp,
        replaces=noted.get("replaces"),
        version=sys.intern(noted.get("version") or "") or None,
        at=number_of(noted.get("at", 0.0)),
        origin=origin,
    )
    return text_of(noted["output"]), entry


def _stamp(noted: dict[str, int] | None) -> Stamp | None:
    if noted is None:
        return None
    return Stamp(size=noted["size"], modified_ns=noted["modified_ns"], changed_ns=noted["changed_ns"])
