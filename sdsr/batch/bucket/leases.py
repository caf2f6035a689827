"""Which of several processes restores a photo of a bucket: the one that made an object where none was.

Leases are as in a folder (`sdsr.batch.leasing`), but nothing is locked in a bucket: a process writes an object of its
own (`TOKEN.alive`) anew every few seconds, and one whose object was watched for long without a change is dead. No
clock counts but the watcher's own. A lease tells what its owner was about to write, so that a result that it wrote and
could not note is known.
"""

import json
from dataclasses import asdict, dataclass

from sdsr.batch.alive import new_token
from sdsr.batch.bucket.store import Store
from sdsr.batch.leasing import EXPIRY_S, FOLDER, Heartbeat, Lease, Owner, Unknown, Watch, key_of, take
from sdsr.batch.objects import known_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What the owner of a lease was about to write, over the version `replaces`; None where nothing was there."""

    token: str
    settings_sha256: str
    replaces: str | None


class Leases:
    """The leases of one process on the photos of one bucket of results."""

    def __init__(self, store: Store, token: str | None = None) -> None:
        self.store = store
        self.token = token or new_token()
        self.held = set[str]()
        self._watch = Watch()
        self._found_dead = set[str]()
        self._heartbeat: Heartbeat | None = None
        self._touched = 0

    def take(self, name: str, settings_sha256: str, replaces: str | None) -> Lease | None:
        """Return the lease on a result; None while another process has it. Raises OutputError."""
        if self._heartbeat is None:
            self.touch()
            self._heartbeat = Heartbeat(self.touch)
        intent = Intent(token=self.token, settings_sha256=settings_sha256, replaces=replaces)
        return take(self, key_of(name), json.dumps(asdict(intent)).encode())

    def make(self, lease: str, about: bytes) -> bool:
        return self.store.create(f"{FOLDER}/{lease}", about)

    def owner(self, lease: str) -> Owner | None:
        try:
            return Intent(**known_fields(Intent, self.store.read(f"{FOLDER}/{lease}")))
        except FileNotFoundError:
            return None
        except ValueError:
            return Unknown()

    def is_dead(self, lease: str, owner: Owner) -> bool:
        token = owner.token
        seen = self.store.seen(_alive(token))
        if seen is None or token in self._found_dead:  # removed when it ended
            return True
        if self._watch.unchanged_s(token, seen.version) >= EXPIRY_S:
            self._found_dead.add(token)
        return token in self._found_dead

    def remove(self, lease: str) -> None:
        self.store.remove(f"{FOLDER}/{lease}")

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


def _alive(token: str) -> str:
    return f"{FOLDER}/{token}.alive"
