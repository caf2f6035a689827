"""What is noted of the results of a folder: hidden files of lines, only ever appended to.

Several processes of one machine append to one file; another machine that writes into the folder has a file of its own,
as network file systems lose what two of them append to one.
"""

import hashlib
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from sdsr.batch.manifest import Manifest
from sdsr.batch.objects import parse_object
from sdsr.errors import OutputError

NAME = ".sdsr-manifest.jsonl"
FOLDER = ".sdsr-manifests"
"""Of the files of other machines than the one that began `NAME`."""


class FolderJournal:
    """The lines of a folder of results; the folder and the file come into being with the first one.

    `machine` is what this one is called, if not what it is.
    """

    def __init__(self, root: Path, *, machine: str | None = None) -> None:
        self._root = root
        self._machine = machine
        self._own: Path | None = None
        self._files = [root / NAME]
        self._seen_bytes: dict[Path, int] = {}

    def news(self) -> Iterator[tuple[int, bytes | None]]:
        with suppress(OSError):  # there is no other machine's
            found = (self._root / FOLDER / each.name for each in os.scandir(self._root / FOLDER))
            self._files += sorted({path for path in found if path.suffix == ".jsonl"} - set(self._files))
        for number, path in enumerate(self._files):
            for line in self._read_on(path):
                yield number, line

    def append(self, lines: bytes) -> int:
        try:
            if self._own is None:
                self._own = self._claimed()
            with self._own.open("ab+", buffering=0) as file:  # one write, so that processes don't mix theirs
                text = _separator(file) + lines
                if file.write(text) != len(text):
                    raise OSError(0, "only a part was written")
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                f"{self._own or self._files[0]} can't be written ({error.strerror}); free some space or choose another"
                " folder."
            ) from error
        if self._own not in self._files:
            self._files.append(self._own)
        return self._files.index(self._own)

    def _read_on(self, path: Path) -> Iterator[bytes | None]:
        """Yield the lines that weren't read yet; None first where it is another file than before."""
        seen = self._seen_bytes.get(path, 0)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < seen:
                    yield None
                    seen = 0
                file.seek(seen)
                for line in file:  # never the whole file at once
                    if not line.endswith(b"\n"):  # being written, or cut short by a kill
                        break
                    seen += len(line)
                    yield line
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{path} can't be read ({error.strerror}); choose another folder.") from error
        self._seen_bytes[path] = seen

    def _claimed(self) -> Path:
        """Return the file that this machine appends to: the first one, if it began that, else one of its own."""
        machine = self._machine or _this_machine()
        first = self._files[0]
        self._root.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), first.open("xb") as file:
            file.write(json.dumps({"machine": machine}).encode() + b"\n")
        with first.open("rb") as file, suppress(ValueError):
            began = parse_object(file.readline()).get("machine")
            if began not in (None, machine):
                (self._root / FOLDER).mkdir(exist_ok=True)
                return self._root / FOLDER / f"{hashlib.sha256(machine.encode()).hexdigest()[:16]}.jsonl"
        return first


def manifest_of(root: Path, *, machine: str | None = None) -> Manifest:
    """Return the manifest of a folder of results, as read now."""
    return Manifest(FolderJournal(root, machine=machine))


def _this_machine() -> str:
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
