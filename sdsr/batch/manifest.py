"""What is finished in a folder of results, so that a run that was killed goes on where it was.

A hidden file of JSON lines, only ever appended to. Before a result is written a line says so (`begun`), and when it is
on the disk another (`done`) with its sha256. As a result appears under its name only when it is complete, one that was
begun and is there needs no rework either.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sdsr.digests import file_sha256
from sdsr.errors import OutputError

NAME = ".sdsr-manifest.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a result is made from: the sha256 of the photo, and that of the model and all settings."""

    input_sha256: str
    settings_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    work: Work
    output_sha256: str | None  # None while it is only begun


class Manifest:
    """The manifest of one folder of results; the folder and the file come into being with the first line."""

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / NAME
        self._entries = dict(_read(self.path))

    def finished(self, target: Path, work: Work) -> bool:
        """Whether the result is there, complete and unchanged, and made from just this."""
        entry = self._entries.get(self._name(target))
        if entry is None or entry.work != work or not target.is_file():
            return False
        return entry.output_sha256 in (None, file_sha256(target))

    def begin(self, target: Path, work: Work) -> None:
        """Note that a result will be written, where nothing is or what is there may be replaced."""
        self._append(target, "begun", work, None)

    def finish(self, target: Path, work: Work) -> None:
        """Note that a result is complete."""
        self._append(target, "done", work, file_sha256(target))

    def _append(self, target: Path, status: Literal["begun", "done"], work: Work, digest: str | None) -> None:
        line = {"status": status, "output": self._name(target), **asdict(work), "output_sha256": digest}
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                file.write(_separator(file) + json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                f"{self.path} can't be written ({error.strerror}); free some space or choose another folder."
            ) from error
        self._entries[self._name(target)] = _Entry(work=work, output_sha256=digest)

    def _name(self, target: Path) -> str:
        return target.relative_to(self.root).as_posix()


def _read(path: Path):
    """Yield (output, entry) of each whole line; what a kill cut short is passed over."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{path} can't be read ({error.strerror}); choose another folder.") from error
    for line in lines:
        try:
            noted: dict[str, Any] = json.loads(line)
            work = Work(input_sha256=noted["input_sha256"], settings_sha256=noted["settings_sha256"])
            yield noted["output"], _Entry(work=work, output_sha256=noted["output_sha256"])
        except (ValueError, KeyError, TypeError):
            continue


def _separator(file: Any) -> bytes:
    """Return what must stand before a new line: nothing, but after a line that a kill cut short."""
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"
