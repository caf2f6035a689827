"""One photo restored within limits and memory, and where its result could not be written, told before that."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sdsr.batch import again
from sdsr.batch.settings import Settings
from sdsr.batch.walking import Task
from sdsr.errors import InputError, LimitError, OutputError
from sdsr.photos.formats import Format
from sdsr.photos.limits import RESULT_LIMITS, Limits
from sdsr.request import Request

if TYPE_CHECKING:
    import numpy as np

    from sdsr.jobs import JobMaker
    from sdsr.photos.files import Header
    from sdsr.photos.photo import Photo

OnProgress = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Restored:
    """A photo as it was read (`lq`), its result, and what was chosen for it; the `spread` of passes, if several."""

    lq: "Photo"
    result: "Photo"
    chosen: str | None = None
    spread: "np.ndarray | None" = None


class Beside(Protocol):
    """What is made beside each result, such as a report."""

    def check(self, photo: tuple[int, int], result: tuple[int, int]) -> None:
        """Raise InputError, before any work, for sizes (height, width) that it can't be made of."""
        ...

    def is_there(self, task: Task) -> bool:
        """Whether it is made already, of this result."""
        ...

    def make(self, task: Task, restored: Restored | None) -> None:
        """Make it of a result that is written; `restored` is None where the result was found finished."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looked:
    """What the header of a photo tells, before it is decoded: the (height, width) of its result, and its format."""

    source: Path | bytes
    header: "Header"
    size: tuple[int, int]
    format: Format


def look_at(
    source: Path | bytes, settings: Settings, *, format: Format | None, header: "Header | None" = None
) -> Looked:
    """Return what a photo's header tells, its own format being the result's of None; LimitError beyond the limits.

    The `header` is read, unless it is known.
    """
    from sdsr.photos.probe import check_output, probe

    header = header or probe(source, settings.limits)
    width, height = settings.request.size(header.width, header.height)
    format = format or header.format
    check_output(header, (height, width), format, settings.limits)
    return Looked(source=source, header=header, size=(height, width), format=format)


def header_of(task: Task, source: Path | bytes, settings: Settings) -> "Header | None":
    """Return what the header of a task's photo tells; None for one that is passed over.

    That is the result of an earlier run, by its label, which was found in a folder and isn't wanted; it may be larger
    than photos may be. Raises InputError, LimitError.
    """
    from sdsr.photos.probe import probe

    passed_over = task.found and not settings.labeled
    try:
        header = probe(source, settings.limits)
    except LimitError:
        with suppress(InputError):
            if passed_over and probe(source, RESULT_LIMITS).labeled:
                return None
        raise
    return None if passed_over and header.labeled else header


def read(looked: Looked, limits: Limits) -> "Photo":
    """Return a photo, read; InputError where its format can't hold the result."""
    from sdsr.photos.files import read_photo
    from sdsr.photos.layout import check_transparency

    photo = read_photo(looked.source, limits)
    check_transparency(photo, looked.format)
    return photo


def restore_looked(
    looked: Looked,
    maker: "JobMaker",
    settings: Settings,
    *,
    photo: "Photo | None" = None,
    on_progress: OnProgress | None = None,
) -> Restored:
    """Return a photo restored, in windows as large as memory allows now, and what was chosen for it.

    Unless the `photo` is in memory already, it is read, when it is known that memory suffices.
    Raises ResultError for a result that can't be right.
    """
    from sdsr.batch.checking import check_result
    from sdsr.batch.memory import within_memory
    from sdsr.less_memory import chosen_with

    passes = settings.restorations
    request = within_memory(maker, looked.header, looked.size, settings.request, passes=passes)
    photo = photo or read(looked, settings.limits)

    def run(request: Request) -> Restored:
        job = maker.job(photo, request, on_progress=on_progress)
        chosen = chosen_with(job.chosen, job.finish.note)
        if passes == 1:
            result = job.run()
            return Restored(lq=photo, result=result, chosen=chosen_with(chosen, *job.progress.notes))
        found = maker.passes(photo, request, count=passes, on_progress=on_progress)
        result = found.first if request.mean_of == 1 else found.mean
        return Restored(lq=photo, result=result, chosen=chosen, spread=found.spread)

    restored, note = maker.in_smaller_windows(photo, request, run)
    check_result(photo, restored.result)
    return replace(restored, chosen=chosen_with(restored.chosen, note))


def restore(source: Path | bytes, maker: "JobMaker", settings: Settings, *, format: Format | None) -> Restored:
    """Return one photo restored, and what was chosen for it.

    What can't be done within limits and memory is refused before anything is decoded.
    """
    return restore_looked(look_at(source, settings, format=format), maker, settings)


def check_target(target: Path, *, overwrite: bool, new_folders: bool = False) -> None:
    """Raise OutputError, before hours of work, where the result could not be written in the end."""
    try:
        there = target.exists()
        folder = target.parent
        while new_folders and not folder.exists() and folder != folder.parent:
            folder = folder.parent
    except OSError as error:
        raise OutputError(f"{target.name} can't be written ({error.strerror}); choose another name.") from error
    if there and not overwrite:
        raise again.exists(target)
    if target.is_dir():
        raise OutputError(f"{target} is a folder; choose another name.")
    if not folder.is_dir():
        raise OutputError(f"{target.name} can't be written: its folder (={folder}) is missing; create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{target.name} can't be written to {folder} (permission); choose a folder you may write to.")
