"""Which of several processes, on one machine or many, restores a photo: whoever has the lease on it.

A process has a file in the claims' folder (`TOKEN.alive`) that it keeps locked and touches every few seconds. A lease
is another name of that file, given only where there is none: `HASH.1` is that of a photo's first owner. Whoever finds
that owner dead makes `HASH.2`, and so on; the highest number has the photo. So every file system that makes a name for
one process alone will do, and nothing is taken from the living by a race.

An owner of this machine is dead as soon as its file is unlocked, which happens when the process ends, however it does.
One of another machine, whose locks may not be seen here, is dead when its file wasn't touched for long: by the file
server's clock, and by having been watched. So clocks that jump, or differ between machines, kill nobody.
"""

import errno
import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sdsr.batch.alive import TOUCH_S, Alive, Owner, lock, new_token, this_machine
from sdsr.errors import OutputError

FOLDER = ".sdsr-claims"
EXPIRY_S = 60.0
"""How long one of another machine may say nothing."""
WATCH_S = 2.5 * TOUCH_S
"""How long it is watched at least, whatever clocks say: it would have touched its file."""
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}


@dataclass(slots=True, kw_only=True, eq=False)
class Claim:
    """A photo that is this process's to restore, until it is released."""

    claims: "Claims"
    key: str
    number: int

    def holds(self) -> bool:
        """Whether that is still so; a machine that slept for long may have been taken for dead."""
        taken_over = self.claims.lease(self.key, self.number + 1).exists()
        return not taken_over and self.claims.owns(self.claims.lease(self.key, self.number))

    def release(self) -> None:
        """Leave the photo to whoever comes."""
        if self.holds():
            for number in range(1, self.number + 1):  # the highest last: until then nobody has a higher one
                with suppress(OSError):
                    self.claims.lease(self.key, number).unlink()
        self.claims.forget(self.key, self.number)


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
        self._held = set[Path]()
        self._watched: dict[str, tuple[int, float]] = {}

    def take(self, target: Path) -> Claim | None:
        """Return the claim on a result; None while another process has it. OutputError where nothing can be written."""
        name = target.relative_to(self.root).as_posix()
        return self._take(hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16])

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
                if self._dead(path):
                    path.unlink(missing_ok=True)

    def bury(self, token: str) -> None:
        """Let a process that is known to be dead be taken for dead by all at once, without being watched for long."""
        with suppress(OSError):
            (self.folder / f"{token}.alive").unlink()

    def lease(self, key: str, number: int) -> Path:
        return self.folder / f"{key}.{number}"

    def owns(self, lease: Path) -> bool:
        """Whether a lease is of this process."""
        try:
            owner = Owner.of(lease)
        except OSError:
            return False
        return owner is not None and owner.token == self.token

    def forget(self, key: str, number: int) -> None:
        self._held.discard(self.lease(key, number))

    def touch(self) -> None:
        """Say now that this process is alive."""
        if self._alive is not None:
            self._alive.touch()

    def _take(self, key: str) -> Claim | None:
        try:
            alive = self._come_alive()
            number = 1
            while not self._make(alive, self.lease(key, number)):
                if not self._dead(self.lease(key, number)):
                    return None
                number += 1
        except OSError as error:
            raise OutputError(f"folder (={self.root}) can't be written ({error.strerror}); choose another.") from error
        return Claim(claims=self, key=key, number=number)

    def _come_alive(self) -> "Alive":
        for attempts_left in (2, 1, 0):
            if self._alive is not None:
                break
            made = not os.path.exists(self.root)
            self.folder.mkdir(parents=True, exist_ok=True)
            owner = Owner(token=self.token, machine=self._machine, locks=self._locks)
            try:
                self._alive = Alive(self.folder, owner)
                self._made_root = made
            except FileNotFoundError:  # another process found its new folder empty and removed it just now
                if not attempts_left:
                    raise
        assert self._alive is not None
        return self._alive

    def _make(self, alive: "Alive", lease: Path) -> bool:
        """Make a lease, whole, if there is none; return whether it was made."""
        made = False
        try:
            os.link(alive.path, lease)
            made = True
        except FileExistsError:  # also said where an answer of NFS got lost, and it was asked again
            made = lease not in self._held and self.owns(lease)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with suppress(FileExistsError), lease.open("xb") as file:
                file.write(alive.path.read_bytes())
                made = True
        if made:
            self._held.add(lease)
        return made

    def _dead(self, path: Path) -> bool:
        """Whether the owner of a lease, or of the file that it keeps, will never come back."""
        try:
            owner = Owner.of(path)
            if owner is None:  # being written
                return self._silent(path.name, path.stat().st_mtime_ns)
        except FileNotFoundError:  # released just now
            return False
        if owner.token == self.token:
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

    def _silent(self, who: str, touched_ns: int) -> bool:
        """Whether a file was watched for long, and was not touched."""
        now = _monotonic()
        last_ns, since = self._watched.get(who, (0, now))
        if last_ns != touched_ns:
            self._watched[who] = (touched_ns, now)
            return False
        watched = now - since
        return watched >= EXPIRY_S or (watched >= WATCH_S and self._server_ns() - touched_ns >= EXPIRY_S * 1e9)

    def _server_ns(self) -> int:
        """Return the time of the clock that stamps files."""
        alive = self._come_alive()
        alive.touch()
        return alive.path.stat().st_mtime_ns


def count_claims(root: Path) -> int:
    """Return how many photos are being restored into a folder of results, as far as can be told at once."""
    highest: dict[str, Path] = {}
    for path in sorted((root / FOLDER).glob("*.[0-9]*"), key=lambda path: int(path.suffix[1:])):
        highest[path.stem] = path
    return sum(_seems_alive(path) for path in highest.values())


def _seems_alive(lease: Path) -> bool:
    with suppress(OSError):
        owner = Owner.of(lease)
        if owner is not None:
            with (lease.parent / f"{owner.token}.alive").open("rb") as file:
                free = owner.locks and lock(file, shared=True)
                silent_s = time.time() - os.fstat(file.fileno()).st_mtime
            return not free or (owner.machine != this_machine() and silent_s < EXPIRY_S)
    return False


def _monotonic() -> float:
    return time.monotonic()
