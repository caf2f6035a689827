"""Which of several processes, on one machine or many, restores a photo: whoever has the lease on it.

A process has a file in the claims' folder (`TOKEN.alive`) that it keeps locked and touches every few seconds. A lease
(`sdsr.batch.leasing`) is another name of that file.

An owner of this machine is dead as soon as its file is unlocked, which happens when the process ends, however it does.
One of another machine, whose locks may not be seen here, is dead when its file wasn't touched for long: by the file
server's clock, and by having been watched. So clocks that jump, or differ between machines, kill nobody.
"""

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

from sdsr.batch.alive import Alive, Process, lock, new_token, this_machine
from sdsr.batch.leasing import EXPIRY_S, FOLDER, TOUCH_S, Lease, Owner, Unknown, Watch, key_of, take
from sdsr.errors import OutputError

WATCH_S = 2.5 * TOUCH_S
"""How long it is watched at least, whatever clocks say: it would have touched its file."""
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}


class Claims:
    """The claims of one process on the photos of one folder of results; their folder is there while one has any."""

    def __init__(self, root: Path, *, token: str | None = None, machine: str | None = None, locks: bool = True) -> None:
        self.root = root
        self.folder = root / FOLDER
        self.token = token or new_token()
        self._machine = machine or this_machine()
        self._locks = locks
        self._alive: Alive | None = None
        self._made_root = False
        self.held = set[str]()
        self._watch = Watch()

    def take(self, name: str) -> Lease | None:
        """Return the lease on a result; None while another process has it. OutputError where nothing can be written."""
        return self._take(key_of(name))

    def close(self) -> None:
        """End this process's part; what it made goes, where it stays empty."""
        if self._alive is not None:
            self._alive.close()
            self._alive = None
        with suppress(OSError):
            self.folder.rmdir()
            if self._made_root:
                self.root.rmdir()

    def remove_abandoned(self) -> None:
        """Remove what processes left that are dead."""
        if not self.folder.is_dir():
            return
        with suppress(OSError):
            for key in {path.stem for path in self.folder.glob("*.[0-9]*")}:
                claim = self._take(key)
                if claim is not None:
                    claim.release()
            for path in self.folder.glob("*.alive"):
                owner = self.owner(path.name)
                if path.stem != self.token and owner is not None and self.is_dead(path.name, owner):
                    path.unlink(missing_ok=True)

    def make(self, lease: str, about: bytes) -> bool:
        return _link(self._come_alive().path, self.folder / lease)

    def owner(self, lease: str) -> Owner | None:
        try:
            return Process.of(self.folder / lease)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):  # being written
            return Unknown()

    def is_dead(self, lease: str, owner: Owner) -> bool:
        try:
            if not isinstance(owner, Process):
                return self._silent(lease, (self.folder / lease).stat().st_mtime_ns)
        except FileNotFoundError:  # released just now
            return False
        try:
            with (self.folder / f"{owner.token}.alive").open("rb") as file:
                touched_ns = os.fstat(file.fileno()).st_mtime_ns
                locked = owner.locks and not lock(file, shared=True)
        except FileNotFoundError:  # removed when it ended
            return True
        if locked:
            return False
        if owner.locks and owner.machine == self._machine:
            return True
        return self._silent(owner.token, touched_ns)

    def remove(self, lease: str) -> None:
        with suppress(OSError):
            (self.folder / lease).unlink()

    def _take(self, key: str) -> Lease | None:
        try:
            return take(self, key)
        except OSError as error:
            raise OutputError(f"folder (={self.root}) can't be written ({error.strerror}); choose another.") from error

    def _come_alive(self) -> Alive:
        for attempts_left in (2, 1, 0):
            if self._alive is not None:
                break
            made = not os.path.exists(self.root)
            self.folder.mkdir(parents=True, exist_ok=True)
            process = Process(token=self.token, machine=self._machine, locks=self._locks)
            try:
                self._alive = Alive(self.folder, process)
                self._made_root = made
            except FileNotFoundError:  # another process found its new folder empty and removed it just now
                if not attempts_left:
                    raise
        assert self._alive is not None
        return self._alive

    def _silent(self, who: str, touched_ns: int) -> bool:
        """Whether a file was watched for long, and was not touched."""
        watched_s = self._watch.unchanged_s(who, touched_ns)
        return watched_s >= EXPIRY_S or (watched_s >= WATCH_S and self._server_ns() - touched_ns >= EXPIRY_S * 1e9)

    def _server_ns(self) -> int:
        """Return the time of the clock that stamps files."""
        alive = self._come_alive()
        alive.touch()
        return alive.path.stat().st_mtime_ns


def _link(own: Path, lease: Path) -> bool:
    """Make a lease, whole, if there is none; return whether it was made."""
    try:
        os.link(own, lease)
    except FileExistsError:  # also said where an answer of NFS got lost, and it was asked again
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            with lease.open("xb") as file:
                file.write(own.read_bytes())
        except FileExistsError:
            return False
    return True


def count_claims(root: Path) -> int:
    """Return how many photos are being restored into a folder of results, as far as can be told at once."""
    leases = sorted((root / FOLDER).glob("*.[0-9]*"), key=lambda path: int(path.suffix[1:]))
    return sum(map(_seems_alive, {path.stem: path for path in leases}.values()))  # of each photo the highest


def _seems_alive(lease: Path) -> bool:
    with suppress(OSError, ValueError):
        process = Process.of(lease)
        with (lease.parent / f"{process.token}.alive").open("rb") as file:
            free = process.locks and lock(file, shared=True)
            silent_s = time.time() - os.fstat(file.fileno()).st_mtime
        return not free or (process.machine != this_machine() and silent_s < EXPIRY_S)
    return False
