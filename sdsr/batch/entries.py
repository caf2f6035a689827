"""What a manifest notes of a result, as it is known again and as a line of JSON."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sdsr.batch.items import Item, Mark, Stamp, sha256_of
from sdsr.batch.objects import number_of, parse_object, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a result is made from: the sha256 of the photo, and that of the model and all settings."""

    input_sha256: str
    settings_sha256: str
    input_mark: Mark | None = None

    @classmethod
    def on(cls, photo: Item, settings_sha256: str) -> "Work":
        """Return the work on a photo as it is now."""
        mark = photo.mark()  # before it is read: what changes later has another
        return cls(input_sha256=sha256_of(photo), settings_sha256=settings_sha256, input_mark=mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is noted of a result: its work, and its sha256, which is None while it is only begun.

    `replaces` is the sha256 of what was there under its name when it was begun, `version` that of sdsr. It was noted
    at a time `at` by its machine's clock, in the file number `origin` of those that were read.
    """

    work: Work
    output_sha256: str | None
    output_mark: Mark | None = None
    replaces: str | None = None
    version: str | None = None
    at: float = 0.0
    origin: int = 0

    def known_again(self, photo: Item, result: Item) -> bool:
        """Whether photo and result are those that it tells of, by their marks."""
        given = self.work.input_mark
        return self.shows(result) and given is not None and photo.fits(given)

    def shows(self, result: Item) -> bool:
        """Whether a result is the one that it tells of, by its mark."""
        return self.output_mark is not None and result.fits(self.output_mark)

    def stands_for(self, sha256: str) -> bool:
        """Whether a file of this sha256 is what the entry tells of."""
        return sha256 == self.output_sha256 if self.output_sha256 is not None else sha256 != self.replaces


def written(name: str, entry: Entry) -> bytes:
    work = entry.work
    noted = {
        "status": "begun" if entry.output_sha256 is None else "done",
        "output": name,
        "input_sha256": work.input_sha256,
        "settings_sha256": work.settings_sha256,
        **_told("input", work.input_mark),
        "output_sha256": entry.output_sha256,
        **_told("output", entry.output_mark),
        **({"replaces": entry.replaces} if entry.replaces else {}),
        "version": entry.version,
        "at": entry.at,
    }
    return json.dumps(noted).encode() + b"\n"


def parsed(line: bytes, origin: int) -> tuple[str, Entry]:
    """Return the result's name and entry; ValueError, KeyError or TypeError for what is no whole line."""
    noted = parse_object(line)
    output_sha256 = noted["output_sha256"]
    work = Work(
        input_sha256=text_of(noted["input_sha256"]),
        settings_sha256=sys.intern(noted["settings_sha256"]),
        input_mark=_mark("input", noted),
    )
    entry = Entry(
        work=work,
        output_sha256=None if output_sha256 is None else text_of(output_sha256),
        output_mark=_mark("output", noted),
        replaces=noted.get("replaces"),
        version=sys.intern(noted.get("version") or "") or None,
        at=number_of(noted.get("at", 0.0)),
        origin=origin,
    )
    return text_of(noted["output"]), entry


def _told(of: str, mark: Mark | None) -> dict[str, Any]:
    return {f"{of}_version": mark} if isinstance(mark, str) else {f"{of}_stamp": mark and asdict(mark)}


def _mark(of: str, noted: Mapping[str, Any]) -> Mark | None:
    version = noted.get(f"{of}_version")
    if version is not None:
        return text_of(version)
    stamp = noted.get(f"{of}_stamp")
    if stamp is None:
        return None
    return Stamp(size=stamp["size"], modified_ns=stamp["modified_ns"], changed_ns=stamp["changed_ns"])
