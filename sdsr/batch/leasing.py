"""Leases with numbers, by which a photo is one process's to restore, wherever they are kept; and who is dead.

A lease is made only where none is: `HASH.1` is that of a photo's first owner. Whoever finds that owner dead makes
`HASH.2`, and so on; the highest number has the photo. So whatever makes a name for one process alone will do, and
nothing is taken from the living by a race.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import Protocol

from sdsr.errors import SdsrError

log = logging.getLogger(__name__)

FOLDER = ".sdsr-claims"
TOUCH_S = 10.0
"""How often a process says that it is alive."""
EXPIRY_S = 60.0
"""How long one may say nothing, whose end can't be seen."""


class Owner(Protocol):
    """Who made a lease, as it says."""

    @property
    def token(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Unknown:
    """The owner of a lease that says nothing that is understood."""

    token: str = ""


class Place(Protocol):
    """Where leases are kept, by their names (`HASH.1`), for one process; `held` are those that it made, and has."""

    token: str
    held: set[str]

    def make(self, lease: str, about: bytes) -> bool:
        """Make a lease, whole, if there is none; return whether it was made. A place may keep what it is about."""
        ...

    def owner(self, lease: str) -> Owner | None:
        """Return who made a lease; None where there is none."""
        ...

    def is_dead(self, lease: str, owner: Owner) -> bool:
        """Whether another process, which made a lease, will never come back."""
        ...

    def remove(self, lease: str) -> None:
        """Remove a lease, or what shows that a process lives (`TOKEN.alive`), if it is there."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Lease:
    """A photo that is this process's to restore, until it is released; `before`, dead owners had it, the last first."""

    place: Place
    key: str
    number: int
    before: tuple[Owner, ...] = ()

    def holds(self) -> bool:
        """Whether that is still so; a machine that slept for long may have been taken for dead."""
        return self.place.owner(f"{self.key}.{self.number + 1}") is None and _is_ours(
            self.place, f"{self.key}.{self.number}"
        )

    def release(self) -> None:
        """Leave the photo to whoever comes."""
        try:
            if self.holds():
                for number in range(1, self.number + 1):  # the highest last: until then nobody has a higher one
                    self.place.remove(f"{self.key}.{number}")
        except SdsrError as error:  # of a network that is away; it is free when this process ends
            log.warning("%s", error)
        self.place.held.discard(f"{self.key}.{self.number}")


def key_of(name: str) -> str:
    """Return what leases on a result are called after."""
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]


def take(place: Place, key: str, about: bytes = b"") -> Lease | None:
    """Return the lease on a result; None while another process, which isn't dead, has it."""
    before: list[Owner] = []
    while not _made(place, lease := f"{key}.{len(before) + 1}", about):
        owner = place.owner(lease)
        if owner is None or owner.token == place.token or not place.is_dead(lease, owner):  # none: released just now
            return None
        before.insert(0, owner)
    return Lease(place=place, key=key, number=len(before) + 1, before=tuple(before))


def bury(place: Place, token: str) -> None:
    """Let a process that is known to be dead be taken for dead by all at once, without being watched for long."""
    place.remove(f"{token}.alive")


def _made(place: Place, lease: str, about: bytes) -> bool:
    """Whether a lease was made now, perhaps by a request whose answer got lost, so that it was asked again."""
    made = place.make(lease, about) or (lease not in place.held and _is_ours(place, lease))
    if made:
        place.held.add(lease)
    return made


def _is_ours(place: Place, lease: str) -> bool:
    owner = place.owner(lease)
    return owner is not None and owner.token == place.token


class Watch:
    """For how long what others show of themselves hasn't changed, by the watcher's own clock."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[object, float]] = {}

    def unchanged_s(self, who: str, shown: object) -> float:
        """Return the seconds since one was first seen like this."""
        now = _monotonic()
        last, since = self._seen.get(who, (None, now))
        if last == shown:
            return now - since
        self._seen[who] = (shown, now)
        return 0.0


class Heartbeat:
    """A thread that says every few seconds that this process is alive, until it is stopped."""

    def __init__(self, touch: Callable[[], None]) -> None:
        self._touch = touch
        self._ended = Event()
        self._thread = Thread(target=self._beat, name="sdsr-alive", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(TOUCH_S):
            with suppress(SdsrError):  # of a network that is away; whoever watches will see
                self._touch()


def _monotonic() -> float:
    return time.monotonic()
