"""The later steps of a photo at the desk: restored, written, and noted."""

import logging
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from sdsr.batch.desk import Desk
from sdsr.batch.opening import Opened
from sdsr.batch.outcome import Outcome
from sdsr.batch.restoring import OnProgress, Restored, restore_looked
from sdsr.errors import OutputError, ResultError
from sdsr.photos.remarks import about

log = logging.getLogger(__name__)


def restore_opened(opened: Opened, desk: Desk, on_progress: OnProgress) -> Restored | Outcome:
    """Return a photo restored, or how it failed; the time it took is added to what opening it took."""
    task = opened.task
    begun = time.perf_counter()

    def attempt() -> Restored:
        restore = partial(
            restore_looked, opened.looked, settings=desk.batch.settings, photo=opened.photo, on_progress=on_progress
        )
        opened.photo = None  # so that nothing but what restores it holds it
        with desk.computing, about(task.source.name):
            try:
                return restore(desk.maker())
            except ResultError as error:
                maker = desk.float32_maker()
                if maker is None:
                    raise
                log.warning("%s: %s It is tried again in float32.", task.source.name, error)
                return restore(maker)

    result = desk.reported(attempt, task, begun - opened.seconds)
    opened.seconds += time.perf_counter() - begun
    return result


def write_opened(opened: Opened, restored: Restored, desk: Desk) -> Outcome | None:
    """Write a result, note it, make what belongs beside it, and return what became of the photo.

    None where this process was taken for dead meanwhile, as after a sleep of the machine, and another has the photo.
    """
    begun = time.perf_counter() - opened.seconds

    def attempt() -> Outcome | None:
        if opened.lease is not None and not opened.lease.holds():
            log.warning("%s was taken over by another process while this one slept.", opened.task.source.name)
            return None
        _write(opened, restored, desk)
        height, width = restored.result.size
        seconds = round(time.perf_counter() - begun, 3)
        return replace(
            desk.outcome(opened.task, "done"),
            size=(width, height),
            chosen=restored.chosen,
            again=opened.again,
            seconds=seconds,
        )

    return desk.reported(attempt, opened.task, begun)


def _write(opened: Opened, restored: Restored, desk: Desk) -> None:
    from sdsr.photos.files import write_photo
    from sdsr.photos.probe import format_of

    task = opened.task
    batch = desk.batch
    settings = batch.settings
    pair = opened.pair
    _make_folder(pair.target.parent)
    seal = settings.seal(restored.result, task.target.name, pair.photo.file(), batch.model.name)
    with nullcontext() if task.root is None else desk.results(task.root).writing(pair, opened.work):
        write_photo(
            restored.result,
            pair.target,
            format=format_of(task.target),
            quality=settings.quality,
            overwrite=opened.replaces,
            seal=seal,
        )
        if batch.beside is not None:
            batch.beside.make(task, restored)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder (={folder}) can't be made ({error.strerror}); choose another.") from error
