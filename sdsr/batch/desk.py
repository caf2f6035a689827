"""The desk at which photos of a batch are worked on: opened, restored, written; what each step costs is its own."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from sdsr.batch.entries import Work
from sdsr.batch.manifest import Manifest, State
from sdsr.batch.model import Model
from sdsr.batch.outcome import Kind, Outcome, Status, kind_of
from sdsr.batch.restoring import Beside, OnProgress, Read, Restored, check_target
from sdsr.batch.settings import Settings, settings_sha256
from sdsr.batch.walking import Task
from sdsr.errors import OutputError, ResultError, SdsrError
from sdsr.photos.formats import Format

if TYPE_CHECKING:
    from sdsr.batch.claims import Claim, Claims
    from sdsr.jobs import JobMaker

log = logging.getLogger(__name__)
T = TypeVar("T")


class LoadingError(Exception):
    """Wraps the error of a model that can't be loaded, which is no photo's."""

    def __init__(self, error: SdsrError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True, kw_only=True)
class Desk:
    """What the photos of a batch share while they are worked on."""

    model: Model
    settings: Settings
    beside: Beside | None = None
    settings_sha256: str = ""
    loaded: "list[JobMaker]" = field(default_factory=list)
    manifests: dict[Path, Manifest] = field(default_factory=dict)
    claimed: "dict[Path, Claims]" = field(default_factory=dict)
    loading: Lock = field(default_factory=Lock)
    computing: Lock = field(default_factory=Lock)  # jobs of a model are run one after another

    def __post_init__(self) -> None:
        self.settings_sha256 = settings_sha256(self.model, self.settings)

    def maker(self) -> "JobMaker":
        """Return the model, loaded when it is needed first; raise LoadingError where it can't be."""
        with self.loading:
            try:
                if not self.loaded:
                    self.loaded.append(self.model.load())
            except SdsrError as error:
                raise LoadingError(error) from error
            return self.loaded[0]

    def float32_maker(self) -> "JobMaker | None":
        """Return the model in full precision, loaded when it is needed first; None where it is so anyway."""
        if len(self.loaded) == 1:
            maker = self.model.load_float32()
            if maker is not None:
                self.loaded.append(maker)
        return self.loaded[1] if len(self.loaded) > 1 else None

    def manifest(self, root: Path) -> Manifest:
        if root not in self.manifests:
            self.manifests[root] = Manifest(root)
        return self.manifests[root]

    def claims(self, root: Path) -> "Claims":
        """Return this process's claims on the photos of a folder of results."""
        from sdsr.batch.claims import Claims

        if root not in self.claimed:
            self.claimed[root] = Claims(root)
        return self.claimed[root]

    def needs_nothing(self, task: Task) -> bool:
        """Whether a photo is finished, with all that belongs beside it."""
        if task.root is None or self.manifest(task.root).interrupted(task.result):
            return False
        return self.finished(self.state(task)) and (self.beside is None or self.beside.is_there(task))

    def state(self, task: Task) -> State:
        """Return what is known of a task's result, which is in a folder of results."""
        assert task.root is not None
        read = self.settings.on_exists == "verify"
        return self.manifest(task.root).state(task.photo, task.result, self.settings_sha256, read=read)

    def finished(self, state: State) -> bool:
        return state == "finished" or (state == "another version" and self.settings.on_exists != "replace")

    def close(self) -> None:
        """Leave the folders of results in order for the next run."""
        for manifest in self.manifests.values():
            manifest.close()
        for claims in self.claimed.values():
            claims.remove_abandoned()
            claims.close()
        self.claimed.clear()


@dataclass(slots=True, kw_only=True, eq=False)
class Opened:
    """A photo that is to be restored, and that no other process may restore until it is let go.

    `size` is the result's (height, width). It is `light` if it may lie in memory beside others; if not, it is read
    when it is restored (`read` is None until then). `again` says why there is something to replace.
    """

    task: Task
    size: tuple[int, int]
    work: Work
    light: bool
    read: Read | None
    again: str | None
    replaces: bool
    seconds: float
    held: ExitStack
    claim: "Claim | None" = None

    def let_go(self) -> None:
        """Leave the photo to whoever comes; more than once if need be."""
        self.held.close()


def open_task(task: Task, desk: Desk) -> Opened | Outcome | None:
    """Return a photo ready to be restored, or what became of it without that; None while another process has it."""
    begun = time.perf_counter()

    def attempt() -> Opened | Outcome | None:
        if desk.needs_nothing(task):
            return skipped(task, desk)
        with ExitStack() as held:
            opened = _open(task, desk, held)
            if isinstance(opened, Opened):
                opened.held = held.pop_all()
                opened.seconds = time.perf_counter() - begun
            return opened

    return _reported(attempt, task, desk, begun)


def restore_opened(opened: Opened, desk: Desk, on_progress: OnProgress) -> Restored | Outcome:
    """Return a photo restored, or how it failed; the time it took is added to what opening it took."""
    from sdsr.batch.restoring import read, restore_read

    task = opened.task
    begun = time.perf_counter()

    def attempt() -> Restored:
        found = opened.read or read(task.source, desk.maker(), desk.settings, format=_format(task))
        opened.read = None  # so that nothing but what restores it holds it
        with desk.computing:
            try:
                return restore_read(found, desk.maker(), desk.settings, on_progress=on_progress)
            except ResultError as error:
                maker = desk.float32_maker()
                if maker is None:
                    raise
                log.warning("%s: %s It is tried again in float32.", task.source.name, error)
                return restore_read(found, maker, desk.settings, on_progress=on_progress)

    result = _reported(attempt, task, desk, begun - opened.seconds)
    opened.seconds += time.perf_counter() - begun
    return result


def write_opened(opened: Opened, restored: Restored, desk: Desk) -> Outcome | None:
    """Write a result, note it, make what belongs beside it, and return what became of the photo.

    None where this process was taken for dead meanwhile, as after a sleep of the machine, and another has the photo.
    """
    begun = time.perf_counter() - opened.seconds

    def attempt() -> Outcome | None:
        if opened.claim is not None and not opened.claim.holds():
            log.warning("%s was taken over by another process while this one slept.", opened.task.source.name)
            return None
        _write(opened, restored, desk)
        height, width = restored.result.size
        seconds = round(time.perf_counter() - begun, 3)
        return replace(
            _outcome(opened.task, desk, "done"),
            size=(width, height),
            chosen=restored.chosen,
            again=opened.again,
            seconds=seconds,
        )

    return _reported(attempt, opened.task, desk, begun)


def _open(task: Task, desk: Desk, held: ExitStack) -> Opened | Outcome | None:
    """Claim a photo and read it, unless it is finished by now; None where another process has it."""
    from sdsr.photos.parts import remove_parts

    if task.root is None:
        return _read(task, desk, None, held)
    claim = desk.claims(task.root).take(task.target)
    if claim is None:
        return None
    held.callback(claim.release)
    manifest = desk.manifest(task.root)
    manifest.refresh()
    if manifest.interrupted(task.target) or task.target.exists():  # whoever was writing it is dead
        remove_parts(task.target)
    state = desk.state(task)
    if desk.finished(state):
        _make_beside(task, desk)
        return skipped(task, desk)
    opened = _read(task, desk, state, held)
    opened.claim = claim
    return opened


def _read(task: Task, desk: Desk, state: State | None, held: ExitStack) -> Opened:
    """Return a photo to restore; what can't be done is refused before the model is loaded."""
    from sdsr.photos.probe import check_output, probe

    settings = desk.settings
    header = probe(task.source, settings.limits)
    width, height = settings.request.size(header.width, header.height)
    check_output(header, (height, width), _format(task), settings.limits)
    if desk.beside is not None:
        desk.beside.check((header.height, header.width), (height, width))
    again = None if state is None else _reason_to_replace(task, desk, state)
    replaces = again is not None or settings.overwrite
    check_target(task.target, overwrite=replaces, new_folders=task.root is not None)
    work = Work.on(task.source, desk.settings_sha256)
    maker = desk.maker()
    from sdsr.batch.memory import is_light
    from sdsr.batch.restoring import read

    light = is_light(header, (height, width), settings.request)
    found = read(task.source, maker, settings, format=_format(task)) if light else None
    return Opened(
        task=task,
        size=(height, width),
        work=work,
        light=light,
        read=found,
        again=again,
        replaces=replaces,
        seconds=0.0,
        held=held,
    )


def _reason_to_replace(task: Task, desk: Desk, state: State) -> str | None:
    """Return why a result that is ours is made again; None where there is none. Raises OutputError where it may not."""
    assert task.root is not None
    manifest = desk.manifest(task.root)
    begun = manifest.interrupted(task.target)
    match state:
        case "missing":
            return None if begun else "its result was gone"
        case "another photo":
            return "the photo changed"
        case "another version":
            return "another version made it"
        case "other settings" if manifest.noted_since(task.target):
            raise OutputError(
                f"{task.target} was made by another process just now, by other settings or weights; give each its own "
                "folder, or stop one of them."
            )
        case "other settings":
            return "settings or weights changed"
        case "changed" if begun:
            return "it was being replaced"
        case "changed" if desk.settings.on_exists != "skip":
            return "its result changed"
        case "changed":
            raise OutputError(
                f"{task.target} exists already, and isn't what was written there; choose --on-exists verify or replace "
                "to make it again, or another folder."
            )
    return None


def _write(opened: Opened, restored: Restored, desk: Desk) -> None:
    from sdsr.photos.files import write_photo

    task = opened.task
    settings = desk.settings
    _make_folder(task.target.parent)
    manifest = None if task.root is None else desk.manifest(task.root)
    if manifest is not None:
        manifest.begin(task.target, opened.work)
    seal = settings.seal(restored.result, task.target.name, task.source, desk.model.name)
    write_photo(
        restored.result,
        task.target,
        format=_format(task),
        quality=settings.quality,
        overwrite=opened.replaces,
        seal=seal,
    )
    if desk.beside is not None:
        desk.beside.make(task, restored)
    if manifest is not None:
        manifest.finish(task.target, opened.work)


def _make_beside(task: Task, desk: Desk) -> None:
    """Make what is missing beside a finished result; the photo is restored again where several passes are looked at."""
    if desk.beside is None or desk.beside.is_there(task):
        return
    restored = None
    if desk.settings.passes > 1:
        from sdsr.batch.restoring import restore

        with desk.computing:
            restored = restore(task.source, desk.maker(), desk.settings, format=_format(task))
    desk.beside.make(task, restored)


def _format(task: Task) -> Format:
    from sdsr.photos.probe import format_of

    return format_of(task.target)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder (={folder}) can't be made ({error.strerror}); choose another.") from error


def skipped(task: Task, desk: Desk) -> Outcome:
    """Return the outcome of a photo that needs nothing."""
    return _outcome(task, desk, "skipped")


def failed(task: Task, desk: Desk, kind: Kind, error: str) -> Outcome:
    """Return the outcome of a photo that can't be restored."""
    return replace(_outcome(task, desk, "failed"), kind=kind, error=error)


def _outcome(task: Task, desk: Desk, status: Status) -> Outcome:
    return Outcome(
        input=task.photo,
        output=task.result,
        status=status,
        model=desk.model.name,
        seed=desk.settings.request.seed,
    )


def _reported(attempt: Callable[[], T], task: Task, desk: Desk, begun: float) -> T | Outcome:
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
        said = f"{task.source.name} can't be restored ({_reason(error)}); check its path."
    return replace(failed(task, desk, kind, said), seconds=round(time.perf_counter() - begun, 3))


def _reason(error: OSError | UnicodeError) -> str:
    return getattr(error, "strerror", None) or str(error)
