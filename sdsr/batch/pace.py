"""How far a batch is and how long the rest takes, counted in pixels of results, as photos differ in them."""

import time
from dataclasses import dataclass, field

from sdsr.batch.desk import Batch
from sdsr.batch.outcome import Outcome
from sdsr.batch.restoring import look_at
from sdsr.batch.walking import Task
from sdsr.errors import SdsrError

_SAMPLE = 16
_SAMPLE_S = 1.0


@dataclass(slots=True, kw_only=True)
class Pace:
    """What was done of so many `photos`, and at which pace.

    `mean_px` is what is guessed of a photo that wasn't looked at yet, until some were. Times are seconds of any clock.
    """

    photos: int
    mean_px: float | int = 1.0
    settled: int = 0
    passed: int = 0
    known: int = 0
    known_px: int = 0
    done_px: int = 0
    at_work: Task | None = None
    at_work_px: int = 0
    share: float = 0.0
    began_s: float | None = None
    now_s: float = 0.0
    begun: set[str] = field(default_factory=set)

    def begin(self, task: Task, pixels: int, now_s: float) -> None:
        """A photo is being restored whose result has so many pixels; the one before it is."""
        self.began_s = now_s if self.began_s is None else self.began_s
        self.done_px += self.at_work_px
        self.known += 1
        self.known_px += pixels
        self.at_work = task
        self.at_work_px = pixels
        self.share = 0.0
        self.begun.add(task.photo)

    def advance(self, task: Task, share: float, now_s: float) -> None:
        """A share of a photo is done."""
        if task is self.at_work:
            self.share = max(share, self.share)
            self.now_s = now_s

    def settle(self, outcome: Outcome, now_s: float) -> None:
        """A photo needs no more work; it may have been restored elsewhere, without a word before."""
        self.settled += 1
        if outcome.input in self.begun:
            self.begun.remove(outcome.input)
        elif outcome.status == "done" and outcome.size is not None:
            pixels = outcome.size[0] * outcome.size[1]
            self.began_s = now_s - outcome.seconds if self.began_s is None else self.began_s
            self.now_s = now_s
            self.known += 1
            self.known_px += pixels
            self.done_px += pixels
        else:
            self.passed += 1

    @property
    def finished_px(self) -> float:
        """Pixels that are restored."""
        return self.done_px + self.at_work_px * self.share

    @property
    def left_px(self) -> float:
        """Pixels that are to be restored, as far as is known."""
        unseen = max(0, self.photos - self.passed - self.known)
        mean = self.known_px / self.known if self.known >= _SAMPLE else self.mean_px
        return unseen * mean + self.at_work_px * (1 - self.share)

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest takes at the pace so far; None before there is one."""
        if self.began_s is None or self.finished_px <= 0:
            return None
        return self.left_px * (self.now_s - self.began_s) / self.finished_px


def mean_pixels(batch: Batch) -> float:
    """Return the mean of the results' pixels of a few photos, evenly spread; 1 where none can be known in a second."""
    found: list[int] = []
    until = time.monotonic() + _SAMPLE_S
    for task in batch.tasks[:: max(1, len(batch.tasks) // _SAMPLE)]:
        if time.monotonic() > until:
            break
        try:
            height, width = look_at(task.source, batch.settings, format=None).size
        except (SdsrError, OSError):
            continue
        found.append(width * height)
    return sum(found) / len(found) if found else 1.0


def told_time(seconds: float | int) -> str:
    """Return a time as it is said: 40 s, 12 min, 3 h 20 min, 12 d 4 h.

    >>> told_time(40), told_time(750), told_time(12_000), told_time(1_051_200)
    ('40 s', '12 min', '3 h 20 min', '12 d 4 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
