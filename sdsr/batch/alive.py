"""The file by which other processes know that one lives: locked as long as it does, and touched now and then."""

import errno
import json
import os
import secrets
import socket
import sys
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from sdsr.batch.leasing import Heartbeat
from sdsr.batch.objects import known_fields

_LOCKED_BYTE = 1 << 20  # of Windows' locks, beyond what is written


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process, as its file says."""

    token: str
    machine: str
    locks: bool

    @classmethod
    def of(cls, path: Path) -> "Process":
        """Return what a file says. Raises OSError, and ValueError where that isn't written yet."""
        return cls(**known_fields(cls, path.read_bytes()))


class Alive:
    """The file that a process keeps locked, and touches, while it lives."""

    def __init__(self, folder: Path, process: Process) -> None:
        self.path = folder / f"{process.token}.alive"
        new = self.path if os.name == "nt" else self.path.with_suffix(".new")  # nobody looks at it before it is locked
        self._file = new.open("xb", buffering=0)
        try:
            if process.locks and not lock(self._file):  # a file system without locks
                process = replace(process, locks=False)
            said = json.dumps(asdict(process)).encode()
            if self._file.write(said) != len(said):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            new.replace(self.path)
        except OSError:  # of a full disk: nothing stays open, or there, for each photo that is tried
            self._file.close()
            with suppress(OSError):
                new.unlink()
            raise
        self._heartbeat = Heartbeat(self.touch)

    def touch(self) -> None:
        with suppress(OSError):  # of a disk that is away; whoever watches will see
            os.utime(self.path)  # without a time: the file server's

    def close(self) -> None:
        self._heartbeat.stop()
        self._file.close()
        with suppress(OSError):
            self.path.unlink()


def new_token() -> str:
    """Return what a process is called among those that share a folder or a bucket."""
    return secrets.token_hex(8)


def this_machine() -> str:
    """Return what no other machine is called that may see the same files, nor this one after it starts again."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{socket.gethostname()}-{uuid.getnode():x}"


def lock(file: IO[bytes], *, shared: bool = False) -> bool:
    """Lock a file until it is closed; return whether that could be."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0)
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
