"""What becomes of a photo that needs no work, or fails: its outcome."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from sdsr.batch.desk import Desk, LoadingError
from sdsr.batch.outcome import Kind, Outcome, Status, kind_of
from sdsr.batch.walking import Task
from sdsr.errors import SdsrError

T = TypeVar("T")


def failed(task: Task, desk: Desk, kind: Kind, error: str) -> Outcome:
    """Return the outcome of a photo that can't be restored."""
    return replace(outcome(task, desk, "failed"), kind=kind, error=error)


def outcome(task: Task, desk: Desk, status: Status) -> Outcome:
    """Return the outcome of a photo that has come to this."""
    return Outcome(
        input=task.photo,
        output=task.result,
        status=status,
        model=desk.model.name,
        seed=desk.settings.request.seed,
    )


def reported(attempt: Callable[[], T], task: Task, desk: Desk, begun: float) -> T | Outcome:
    """Return what an attempt gives, or the outcome of its failure; begun is when work on the photo began."""
    try:
        return attempt()
    except LoadingError as failure:
        raise failure.error from failure
    except SdsrError as error:
        kind = kind_of(error)
        said = str(error)
    except (OSError, UnicodeError) as error:  # of a name, or of a disk that goes away
        kind = kind_of(error)
        reason = getattr(error, "strerror", None) or error
        said = f"{task.source.name} can't be restored ({reason}); check its path."
    return replace(failed(task, desk, kind, said), seconds=round(time.perf_counter() - begun, 3))
