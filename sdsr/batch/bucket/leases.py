"""Which of several processes restores a photo of a bucket: the one that made an object where none was.

As in a folder (`sdsr.batch.claims`) the leases of a photo are numbered, and the highest has it: `HASH.1` is its first
owner's, and who finds that owner dead makes `HASH.2`. Nothing is locked in a bucket: a process writes an object of its
own (`TOKEN.alive`) anew every few seconds, and one whose object was watched for long without a change is dead. No
clock counts but the watcher's own. A lease tells what its owner was about to write, so that a result that it wrote and
could not note is known.
"""

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from threading import Event, Thread

from sdsr.batch.alive import TOUCH_S, new_token
from sdsr.batch.bucket.store import Store
from sdsr.batch.claims import EXPIRY_S, FOLDER
from sdsr.batch.objects import known_fields
from sdsr.errors import SdsrError


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What the owner of a lease was about to write, over the version `replaces`; None where nothing was there."""

    token: str
    settings_sha256: str
    replaces: str | None


NOBODY = Intent(token="", settings_sha256="", replaces=None)


@dataclass(slots=True, kw_only=True, eq=False)
class Lease:
    """A photo that is this process's to restore; `before` is what dead owners were at, the last one first."""

    leases: "Leases"
    key: str
    number: int
    before: tuple[Intent, ...] = ()

    def holds(self) -> bool:
        """Whether that is still so; a machine that slept for long may have been taken for dead."""
        taken_over = self.leases.owner(self.key, self.number + 1) is not None
        owner = self.leases.owner(self.key, self.number)
        return not taken_over and owner is not None and owner.token == self.leases.token

    def release(self) -> None:
        """Leave the photo to whoever comes."""
        if self.holds():
            for number in range(1, self.number + 1):  # the highest last: until then nobody has a higher one
                self.leases.remove(self.key, number)
        self.leases.forget(self.key, self.number)


class Leases:
    """The leases of one process on the photos of one bucket of results."""

    def __init__(self, store: Store, token: str | None = None) -> None:
        self.store = store
        self.token = token or new_token()
        self._held = set[str]()
        self._watched: dict[str, tuple[str, float]] = {}
        self._found_dead = set[str]()
        self._thread: Thread | None = None
        self._ended = Event()
        self._touched = 0

    def take(self, name: str, settings_sha256: str, replaces: str | None) -> Lease | None:
        """Return the lease on a result; None while another process has it. Raises OutputError."""
        self._come_alive()
        key = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]
        intent = Intent(token=self.token, settings_sha256=settings_sha256, replaces=replaces)
        before: list[Intent] = []
        number = 1
        while not self._make(key, number, intent):
            owner = self.owner(key, number)
            if owner is None or not self._dead(owner.token):  # none: released just now
                return None
            if owner is not NOBODY:
                before.insert(0, owner)
            number += 1
        return Lease(leases=self, key=key, number=number, before=tuple(before))

    def owner(self, key: str, number: int) -> Intent | None:
        """Return who made a lease; None where there is none, and NOBODY where something else is in its place."""
        try:
            return Intent(**known_fields(Intent, self.store.read(_lease(key, number))))
        except FileNotFoundError:
            return None
        except ValueError:
            return NOBODY

    def remove(self, key: str, number: int) -> None:
        self.store.remove(_lease(key, number))

    def forget(self, key: str, number: int) -> None:
        self._held.discard(_lease(key, number))

    def bury(self, token: str) -> None:
        """Let a process that is known to be dead be taken for dead by all at once, without being watched for long."""
        self.store.remove(_alive(token))

    def touch(self) -> None:
        """Say now that this process is alive."""
        self._touched += 1
        self.store.write(_alive(self.token), str(self._touched).encode())

    def close(self) -> None:
        """End this process's part."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None
            for token in (self.token, *self._found_dead):
                self.store.remove(_alive(token))

    def _make(self, key: str, number: int, intent: Intent) -> bool:
        name = _lease(key, number)
        made = self.store.create(name, json.dumps(asdict(intent)).encode())
        if not made and name not in self._held:  # made, and the answer got lost and it was asked again
            owner = self.owner(key, number)
            made = owner is not None and owner.token == self.token
        if made:
            self._held.add(name)
        return made

    def _dead(self, token: str) -> bool:
        if token == self.token:
            return False
        seen = self.store.seen(_alive(token))
        if seen is None or token in self._found_dead:  # removed when it ended
            return True
        now = _monotonic()
        version, since = self._watched.get(token, ("", now))
        if version != seen.version:
            self._watched[token] = (seen.version, now)
            return False
        if now - since >= EXPIRY_S:
            self._found_dead.add(token)
        return token in self._found_dead

    def _come_alive(self) -> None:
        if self._thread is None:
            self._ended.clear()
            self.touch()
            self._thread = Thread(target=self._keep_touching, name="sdsr-alive", daemon=True)
            self._thread.start()

    def _keep_touching(self) -> None:
        while not self._ended.wait(TOUCH_S):
            try:
                self.touch()
            except SdsrError:  # of a network that is away; whoever watches will see
                continue


def _lease(key: str, number: int) -> str:
    return f"{FOLDER}/{key}.{number}"


def _alive(token: str) -> str:
    return f"{FOLDER}/{token}.alive"


def _monotonic() -> float:
    return time.monotonic()
