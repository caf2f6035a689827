"""Leases with numbers, by which a photo is one process's to restore, wherever they are kept; and who is dead.

A lease is made only where none is: `HASH.1` is that of a photo's first owner. Whoever finds that owner dead makes
`HASH.2`, and so on; the highest number has the photo. So whatever makes a name for one process alone will do, and
nothing is taken from the living by a race.
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import Protocol

from sdsr.errors import SdsrError

FOLDER = ".sdsr-claims"
TOUCH_S = 10.0
"""How often a process says that it is alive."""
EXPIRY_S = 60.0
"""How long one may say nothing, whose end can't be seen."""


class Place(Protocol):
    """Where leases are kept, for one process; `held` are those that it made, and has."""

    held: set[tuple[str, int]]

    def is_there(self, key: str, number: int) -> bool:
        """Whether anybody has that lease."""
        ...

    def is_ours(self, key: str, number: int) -> bool:
        """Whether a lease is of this process."""
        ...

    def remove(self, key: str, number: int) -> None:
        """Remove a lease, if it is there."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Lease:
    """A photo that is this process's to restore, until it is released."""

    place: Place
    key: str
    number: int

    def holds(self) -> bool:
        """Whether that is still so; a machine that slept for long may have been taken for dead."""
        return not self.place.is_there(self.key, self.number + 1) and self.place.is_ours(self.key, self.number)

    def release(self) -> None:
        """Leave the photo to whoever comes."""
        if self.holds():
            for number in range(1, self.number + 1):  # the highest last: until then nobody has a higher one
                self.place.remove(self.key, number)
        self.place.held.discard((self.key, self.number))


def key_of(name: str) -> str:
    """Return what leases on a result are called after."""
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]


def take(place: Place, key: str, *, make: Callable[[int], bool], is_dead: Callable[[int], bool]) -> Lease | None:
    """Return the lease on a result; None while another process, which isn't dead, has it.

    `make` makes the lease of a number if there is none, `is_dead` tells whether its owner will never come back.
    """
    number = 1
    while not _made(place, key, number, make):
        if not is_dead(number):
            return None
        number += 1
    return Lease(place=place, key=key, number=number)


def _made(place: Place, key: str, number: int, make: Callable[[int], bool]) -> bool:
    """Whether a lease was made now, perhaps by a request whose answer got lost, so that it was asked again."""
    made = make(number) or ((key, number) not in place.held and place.is_ours(key, number))
    if made:
        place.held.add((key, number))
    return made


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
