"""Which of several processes restores a photo of a bucket: the one that made an object where none was.

Leases are as in a folder (`sdsr.batch.leasing`), but nothing is locked in a bucket: a process writes an object of its
own (`TOKEN.alive`) anew every few seconds, and one whose object was watched for long without a change is dead. No
clock counts but the watcher's own. A lease tells what its owner was about to write, so that a result that it wrote and
could not note is known.
"""

import json
from dataclasses import asdict, dataclass

from sdsr.batch import leasing
from sdsr.batch.alive import new_token
from sdsr.batch.bucket.store import Store
from sdsr.batch.leasing import EXPIRY_S, FOLDER, Heartbeat, Watch, key_of
from sdsr.batch.objects import known_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What the owner of a lease was about to write, over the version `replaces`; None where nothing was there."""

    token: str
    settings_sha256: str
    replaces: str | None


NOBODY = Intent(token="", settings_sha256="", replaces=None)


@dataclass(slots=True, kw_only=True, eq=False)
class Lease(leasing.Lease):
    """A lease with `before`, what dead owners were at, the last one first."""

    before: tuple[Intent, ...]


class Leases:
    """The leases of one process on the photos of one bucket of results."""

    def __init__(self, store: Store, token: str | None = None) -> None:
        self.store = store
        self.token = token or new_token()
        self.held = set[tuple[str, int]]()
        self._watch = Watch()
        self._found_dead = set[str]()
        self._heartbeat: Heartbeat | None = None
        self._touched = 0

    def take(self, name: str, settings_sha256: str, replaces: str | None) -> Lease | None:
        """Return the lease on a result; None while another process has it. Raises OutputError."""
        if self._heartbeat is None:
            self.touch()
            self._heartbeat = Heartbeat(self.touch)
        key = key_of(name)
        intent = json.dumps(asdict(Intent(token=self.token, settings_sha256=settings_sha256, replaces=replaces)))
        before: list[Intent] = []

        def is_dead(number: int) -> bool:
            owner = self.owner(key, number)
            if owner is None or not self._dead(owner.token):  # none: released just now
                return False
            if owner is not NOBODY:
                before.insert(0, owner)
            return True

        def make(number: int) -> bool:
            return self.store.create(_lease(key, number), intent.encode())

        taken = leasing.take(self, key, make=make, is_dead=is_dead)
        return taken and Lease(place=self, key=key, number=taken.number, before=tuple(before))

    def owner(self, key: str, number: int) -> Intent | None:
        """Return who made a lease; None where there is none, and NOBODY where something else is in its place."""
        try:
            return Intent(**known_fields(Intent, self.store.read(_lease(key, number))))
        except FileNotFoundError:
            return None
        except ValueError:
            return NOBODY

    def is_there(self, key: str, number: int) -> bool:
        return self.owner(key, number) is not None

    def is_ours(self, key: str, number: int) -> bool:
        owner = self.owner(key, number)
        return owner is not None and owner.token == self.token

    def remove(self, key: str, number: int) -> None:
        self.store.remove(_lease(key, number))

    def bury(self, token: str) -> None:
        """Let a process that is known to be dead be taken for dead by all at once, without being watched for long."""
        self.store.remove(_alive(token))

    def touch(self) -> None:
        """Say now that this process is alive."""
        self._touched += 1
        self.store.write(_alive(self.token), str(self._touched).encode())

    def close(self) -> None:
        """End this process's part."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None
            for token in (self.token, *self._found_dead):
                self.store.remove(_alive(token))

    def _dead(self, token: str) -> bool:
        if token == self.token:
            return False
        seen = self.store.seen(_alive(token))
        if seen is None or token in self._found_dead:  # removed when it ended
            return True
        if self._watch.unchanged_s(token, seen.version) >= EXPIRY_S:
            self._found_dead.add(token)
        return token in self._found_dead


def _lease(key: str, number: int) -> str:
    return f"{FOLDER}/{key}.{number}"


def _alive(token: str) -> str:
    return f"{FOLDER}/{token}.alive"
