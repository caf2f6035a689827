"""Photos of other processes: passed over, and looked at again when there is nothing else to do."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator

from sdsr.batch.outcome import Outcome
from sdsr.batch.walking import Task

log = logging.getLogger(__name__)

_MOST_PATIENCE_S = 5.0


def in_rounds(
    tasks: Iterable[Task],
    look: Callable[[Iterable[Task]], Iterator[Outcome | Task]],
    *,
    enough: Callable[[], bool],
    patience_s: float | int,
) -> Iterator[Outcome]:
    """Yield what becomes of tasks in looks at them, until there is none left or it is enough.

    A look gives the outcome of each task, or the task again where another process is at it. Where none is settled, the
    next look waits for `patience_s`, and then for longer and longer.
    """
    waiting = tasks
    first = True
    wait_s = patience_s
    while not enough():
        again: list[Task] = []
        advanced = False
        for found in look(waiting):
            if isinstance(found, Task):
                again.append(found)
                continue
            advanced = True
            yield found
        if not again:
            return
        if first:
            log.info("waiting for %d photos that other processes are restoring.", len(again))
        if advanced:
            wait_s = patience_s
        elif not first:
            time.sleep(wait_s)
            wait_s = min(_MOST_PATIENCE_S, 1.5 * wait_s)
        waiting = again
        first = False
