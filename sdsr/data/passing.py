"""Passing over photos that can't be used, so that one of them doesn't end a run: each is named once, up to a limit."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from sdsr.errors import InputError

T = TypeVar("T")
MOST_SHARE = 0.1
"""At most this share of the photos, and at least one, may be passed over; more are a fault of the folder."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Passing:
    """Which of `count` photos were passed over, by index."""

    count: int
    _known: dict[int, InputError] = field(default_factory=dict, repr=False, compare=False)

    def usable(self, indices: Iterable[int], read: Callable[[int], T]) -> Iterator[tuple[int, T]]:
        """Yield each index whose photo can be read, and what was read; at least one, or InputError is raised.

        Which ones these are depends on the photos and the order alone, so a resumed run takes the same. Raises
        InputError where more than the limit can't be read, too.
        """
        found = False
        for index in indices:
            if index in self._known:
                continue
            try:
                photo = read(index)
            except InputError as error:
                self._note(index, error)
                continue
            found = True
            yield index, photo
        if not found:
            last = self._known[max(self._known)]
            raise InputError(f"none of the photos (={self.count}) can be used: {last}") from last

    def _note(self, index: int, error: InputError) -> None:
        if self._known.setdefault(index, error) is not error:  # another thread was faster
            return
        log.warning("passed over: %s", error)
        limit = max(1, int(self.count * MOST_SHARE))
        if len(self._known) > limit:
            raise InputError(
                f"photos that can't be used (={len(self._known)}) must be at most {limit} of {self.count}; mend or "
                f"remove those named before, and this one: {error}"
            ) from error
