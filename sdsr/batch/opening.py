"""The first step of a photo at the desk: claimed, unless it is finished; read; and why its result is made again."""

import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sdsr.batch import again
from sdsr.batch.desk import Desk
from sdsr.batch.entries import Work
from sdsr.batch.leasing import Lease
from sdsr.batch.manifest import State
from sdsr.batch.outcome import Outcome
from sdsr.batch.restoring import Looked, check_target, header_of, look_at, read, restore
from sdsr.batch.results import Pair
from sdsr.batch.walking import Task

if TYPE_CHECKING:
    from sdsr.photos.photo import Photo


@dataclass(slots=True, kw_only=True, eq=False)
class Opened:
    """A photo that is to be restored, and that no other process may restore until it is let go.

    It is `light` if it may lie in memory beside others; if not, it is read when it is restored (`photo` is None until
    then). `again` says why there is something to replace.
    """

    task: Task
    pair: Pair
    looked: Looked
    work: Work
    light: bool
    photo: "Photo | None"
    again: str | None
    replaces: bool
    lease: Lease | None
    seconds: float = 0.0
    held: ExitStack = field(default_factory=ExitStack)

    def let_go(self) -> None:
        """Leave the photo to whoever comes; more than once if need be."""
        self.held.close()


def open_task(task: Task, desk: Desk) -> Opened | Outcome | None:
    """Return a photo ready to be restored, or what became of it without that; None while another process has it."""
    begun = time.perf_counter()

    def attempt() -> Opened | Outcome | None:
        if desk.needs_nothing(task):
            return desk.outcome(task, "skipped")
        with ExitStack() as held:
            opened = _open(task, desk, held)
            if isinstance(opened, Opened):
                opened.held = held.pop_all()
                opened.seconds = time.perf_counter() - begun
            return opened

    return desk.reported(attempt, task, begun)


def skip_finished(tasks: Iterable[Task], desk: Desk) -> Generator[Outcome, None, list[Task]]:
    """Yield the outcomes of tasks that need nothing, and return the others.

    Raises InputError where there are any, and processes can't share the results.
    """
    left: list[Task] = []
    for task in tasks:
        if desk.needs_nothing(task):
            yield desk.outcome(task, "skipped")
        else:
            left.append(task)
    for results in desk.opened.values() if left else ():
        results.check_shared()
    return left


def _open(task: Task, desk: Desk, held: ExitStack) -> Opened | Outcome | None:
    """Claim a photo and read it, unless it is finished by now; None where another process has it."""
    if task.root is None:
        return _read(task, desk, Pair.of(task), None, None)
    results = desk.results(task.root)
    lease = results.take(task, desk.settings_sha256)
    if lease is None:
        return None
    held.callback(lease.release)
    pair = results.open(task, lease, held)
    state = results.state(pair, desk.settings_sha256, read=desk.reads)
    if desk.finished(state):
        _make_beside(task, desk)
        return desk.outcome(task, "skipped")
    return _read(task, desk, pair, state, lease)


def _read(task: Task, desk: Desk, pair: Pair, state: State | None, lease: Lease | None) -> Opened | Outcome:
    """Return a photo to restore, unless it is an earlier run's result; what can't be done is refused before loading."""
    from sdsr.photos.probe import format_of

    settings = desk.batch.settings
    source = pair.photo.file()
    header = header_of(task, source, settings)
    if header is None:
        return replace(desk.outcome(task, "skipped"), labeled=True)
    looked = look_at(source, settings, format=format_of(task.target), header=header)
    if desk.batch.beside is not None:
        desk.batch.beside.check((looked.header.height, looked.header.width), looked.size)
    reason = None
    if task.root is not None and state is not None:
        reason = again.reason(state, task, desk.results(task.root).manifest, settings.on_exists)
    replaces = reason is not None or settings.overwrite
    check_target(pair.target, overwrite=replaces, new_folders=task.root is not None)
    work = Work.on(pair.photo, desk.settings_sha256)
    desk.maker()
    from sdsr.batch.memory import is_light

    light = is_light(looked.header, looked.size, settings.request)
    return Opened(
        task=task,
        pair=pair,
        looked=looked,
        work=work,
        light=light,
        photo=read(looked, settings.limits) if light else None,
        again=reason,
        replaces=replaces,
        lease=lease,
    )


def _make_beside(task: Task, desk: Desk) -> None:
    """Make what is missing beside a finished result; the photo is restored again where several passes are looked at."""
    batch = desk.batch
    if batch.beside is None or batch.beside.is_there(task):
        return
    restored = None
    if batch.settings.passes > 1:
        from sdsr.photos.probe import format_of

        with desk.computing:
            restored = restore(task.source, desk.maker(), batch.settings, format=format_of(task.target))
    batch.beside.make(task, restored)
