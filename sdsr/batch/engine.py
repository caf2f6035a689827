"""This machine as an engine: one model, photos one after another; a bad one is reported and the rest go on.

Several engines may work on one folder of results: each photo is restored by one of them. Torch and decoders are loaded
when the first photo needs them, so that finding everything finished takes no time.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from sdsr import __version__
from sdsr.batch.manifest import Manifest, Work
from sdsr.batch.model import Model
from sdsr.batch.walking import Job
from sdsr.errors import OutputError, SdsrError
from sdsr.photos.credentials import Seal, Signer
from sdsr.photos.formats import Format
from sdsr.photos.limits import Limits
from sdsr.request import Request

if TYPE_CHECKING:
    import numpy as np

    from sdsr.jobs import JobMaker
    from sdsr.photos.photo import Photo

log = logging.getLogger(__name__)

OnProgress = Callable[[float], None]
WITHOUT_EFFECT = ("format", "overwrite", "limits", "passes")
"""Settings that change no result of a given name."""
_PATIENCE_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is the same for all photos of a batch; `format` and `quality` None keep each photo's own.

    A `signer` signs the results. So many `passes` are made to see where they disagree; the first alone is the result,
    unless the request's is a mean.
    """

    request: Request = field(default_factory=Request)
    format: Format | None = None
    quality: int | None = None
    overwrite: bool = False
    limits: Limits = field(default_factory=Limits)
    passes: int = 1
    signer: Signer | None = None

    def seal(self, photo: "Photo", title: str, source: "Path | bytes", model: str) -> Seal | None:
        """Return what is signed of a result that a model made of a file; None where nobody signs."""
        if self.signer is None:
            return None
        from sdsr.photos.label import source_type

        return Seal(
            signer=self.signer,
            software=f"sdsr {model}",
            version=__version__,
            title=title,
            parent=source,
            source_type=source_type(photo.traits.xmp),
        )


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

    def is_there(self, job: Job) -> bool:
        """Whether it is made already, of this result."""
        ...

    def make(self, job: Job, restored: Restored | None) -> None:
        """Make it of a result that is written; `restored` is None where the result was found finished."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one photo; `size` is the result's (width, height), `chosen` what was chosen for it, and why."""

    input: str
    output: str
    status: Literal["done", "skipped", "failed"]
    size: tuple[int, int] | None = None
    seconds: float = 0.0
    model: str
    seed: int
    chosen: str | None = None
    error: str | None = None


def process(
    jobs: Iterable[Job],
    model: Model,
    settings: Settings,
    *,
    on_progress: Callable[[Job, float], None],
    beside: Beside | None = None,
) -> Iterator[Outcome]:
    """Restore the photos one after another and yield what became of each.

    In a folder of results, what is finished is skipped and what gets finished is noted; a photo that another process
    is restoring is left to it, and looked at again when there is nothing else to do. What belongs `beside` a result is
    made with it, or later where it is missing. `on_progress` hears of the share of each job that is done. Errors of the
    library and of the operating system are outcomes; where the model itself can't be loaded, that error is raised.
    """
    sha256 = settings_sha256(model, settings)
    desk = _Desk(model=model, settings=settings, settings_sha256=sha256, beside=beside)
    waiting: list[Job] = []
    try:
        for job in jobs:
            outcome = _outcome(job, desk, on_progress)
            if outcome is None:
                waiting.append(job)
            else:
                yield outcome
        if waiting:
            log.info("waiting for %d photos that other processes are restoring.", len(waiting))
        while waiting:
            again: list[Job] = []
            for job in waiting:
                outcome = _outcome(job, desk, on_progress)
                if outcome is None:
                    again.append(job)
                else:
                    yield outcome
            if len(again) == len(waiting):
                time.sleep(_PATIENCE_S)
            waiting = again
    finally:
        desk.close()


def restore(
    source: "Path | bytes",
    maker: "JobMaker",
    settings: Settings,
    *,
    format: Format | None,
    on_progress: OnProgress | None = None,
) -> Restored:
    """Return one photo restored, and what was chosen for it.

    What can't be done within limits and memory is refused before anything is decoded.
    """
    from sdsr.batch.memory import ran_out, with_smaller_windows, within_memory
    from sdsr.photos.files import check_output, probe, read_photo
    from sdsr.photos.layout import check_transparency

    header = probe(source, settings.limits)
    width, height = settings.request.size(header.width, header.height)
    check_output(header, (height, width), format or header.format, settings.limits)
    passes = max(settings.passes, settings.request.mean_of)
    request = within_memory(maker, header, (height, width), settings.request, passes=passes)
    photo = read_photo(source, settings.limits)
    check_transparency(photo, format or header.format)
    while True:
        try:
            job = maker.job(photo, request, on_progress=on_progress)
            if passes == 1:
                return Restored(lq=photo, result=job.run(), chosen=job.chosen)
            found = maker.passes(photo, request, count=passes, on_progress=on_progress)
            result = found.first if request.mean_of == 1 else found.mean
            return Restored(lq=photo, result=result, chosen=job.chosen, spread=found.spread)
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
            request = with_smaller_windows(maker, request)


def settings_sha256(model: Model, settings: Settings) -> str:
    """Return the sha256 of all that a result depends on besides photo and name: version, weights, settings."""
    request = asdict(settings.request)
    if all(request[name] is None for name in ("scale", "width", "height", "megapixels")):
        request["scale"] = 4.0
    for name in ("scale", "megapixels", "fidelity"):
        request[name] = None if request[name] is None else float(request[name])  # 2 is 2.0
    del request["memory_bytes"]  # bounds the windows, not what is wanted
    signed = settings.signer and hashlib.sha256(settings.signer.certificate).hexdigest()
    wanted = asdict(replace(settings, signer=None)) | {"request": request, "signer": signed}
    for name in WITHOUT_EFFECT:
        del wanted[name]
    return hashlib.sha256(repr((__version__, model.sha256, wanted)).encode(errors="surrogateescape")).hexdigest()


class _LoadingError(Exception):
    """Wraps the error of a model that can't be loaded, which is no photo's."""

    def __init__(self, error: SdsrError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True, kw_only=True)
class _Desk:
    """What the photos of a batch share while they are worked on."""

    model: Model
    settings: Settings
    settings_sha256: str
    beside: Beside | None = None
    loaded: "list[JobMaker]" = field(default_factory=list)
    manifests: dict[Path, Manifest] = field(default_factory=dict)

    def maker(self) -> "JobMaker":
        """Return the model, loaded when it is needed first; raise _LoadingError where it can't be."""
        try:
            if not self.loaded:
                self.loaded.append(self.model.load())
        except SdsrError as error:
            raise _LoadingError(error) from error
        return self.loaded[0]

    def manifest(self, root: Path) -> Manifest:
        if root not in self.manifests:
            self.manifests[root] = Manifest(root)
        return self.manifests[root]

    def close(self) -> None:
        """Leave the folders of results in order for the next run."""
        from sdsr.batch.claims import remove_abandoned

        for manifest in self.manifests.values():
            manifest.close()
            if self.loaded:
                remove_abandoned(manifest.root)


def _outcome(job: Job, desk: _Desk, on_progress: Callable[[Job, float], None]) -> Outcome | None:
    """Return what became of one photo; None while another process restores it."""
    on_progress(job, 0.0)
    begun = time.perf_counter()
    outcome = Outcome(
        input=str(job.source),
        output=str(job.target),
        status="failed",
        model=desk.model.name,
        seed=desk.settings.request.seed,
    )
    try:
        finished = _finish(job, desk, lambda share: on_progress(job, share))
    except SdsrError as error:
        outcome = replace(outcome, error=str(error))
    except _LoadingError as failure:
        raise failure.error from failure
    except (OSError, UnicodeError) as error:  # of a name, or of a disk that goes away
        outcome = replace(outcome, error=f"{job.source.name} can't be restored ({_reason(error)}); check its path.")
    else:
        if finished is None:
            return None
        outcome = replace(outcome, status=finished.status, size=finished.size, chosen=finished.chosen)
    on_progress(job, 1.0)
    return replace(outcome, seconds=round(time.perf_counter() - begun, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finished:
    status: Literal["done", "skipped"]
    size: tuple[int, int] | None = None
    chosen: str | None = None


_SKIPPED = _Finished(status="skipped")


def _finish(job: Job, desk: _Desk, on_progress: OnProgress) -> _Finished | None:
    """Restore one photo into its file, unless it is there already; None where another process does it."""
    from sdsr.batch.claims import claimed
    from sdsr.photos.parts import remove_parts

    if job.root is None:
        return _restore_into(job, desk, None, on_progress)
    manifest = desk.manifest(job.root)
    begun = manifest.interrupted(job.target)
    if not begun and manifest.finished(job.source, job.target, desk.settings_sha256) and _complete(job, desk):
        return _SKIPPED
    with claimed(job.root, job.target) as alone:
        if not alone:
            return None
        manifest.refresh()
        if manifest.interrupted(job.target) or job.target.exists():  # whoever was writing it is dead
            remove_parts(job.target)
        if manifest.finished(job.source, job.target, desk.settings_sha256):
            _make_beside(job, desk, on_progress)
            return _SKIPPED
        return _restore_into(job, desk, manifest, on_progress)


def _restore_into(job: Job, desk: _Desk, manifest: Manifest | None, on_progress: OnProgress) -> _Finished:
    """Restore one photo into its file and note it; what can't be is refused before the model is loaded."""
    from sdsr.photos.probe import check_output, format_of, probe

    settings = desk.settings
    format = format_of(job.target)
    header = probe(job.source, settings.limits)
    width, height = settings.request.size(header.width, header.height)
    check_output(header, (height, width), format, settings.limits)
    if desk.beside is not None:
        desk.beside.check((header.height, header.width), (height, width))
    check_target(job.target, overwrite=settings.overwrite, new_folders=job.root is not None)
    work = Work.on(job.source, desk.settings_sha256)
    maker = desk.maker()
    from sdsr.photos.files import write_photo

    restored = restore(job.source, maker, settings, format=format, on_progress=on_progress)
    photo = restored.result
    _make_folder(job.target.parent)
    if manifest is not None and not job.target.exists():
        manifest.begin(job.target, work)
    seal = settings.seal(photo, job.target.name, job.source, desk.model.name)
    write_photo(photo, job.target, format=format, quality=settings.quality, overwrite=settings.overwrite, seal=seal)
    if desk.beside is not None:
        desk.beside.make(job, restored)
    if manifest is not None:
        manifest.finish(job.target, work)
    return _Finished(status="done", size=(photo.size[1], photo.size[0]), chosen=restored.chosen)


def _complete(job: Job, desk: _Desk) -> bool:
    return desk.beside is None or desk.beside.is_there(job)


def _make_beside(job: Job, desk: _Desk, on_progress: OnProgress) -> None:
    """Make what is missing beside a finished result; the photo is restored again where several passes are looked at."""
    from sdsr.photos.probe import format_of

    if desk.beside is None or desk.beside.is_there(job):
        return
    restored = None
    if desk.settings.passes > 1:
        settings = desk.settings
        restored = restore(job.source, desk.maker(), settings, format=format_of(job.target), on_progress=on_progress)
    desk.beside.make(job, restored)


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
        raise OutputError(f"{target} exists already; choose another name or folder, or allow --overwrite.")
    if target.is_dir():
        raise OutputError(f"{target} is a folder; choose another name.")
    if not folder.is_dir():
        raise OutputError(f"{target.name} can't be written: its folder (={folder}) is missing; create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{target.name} can't be written to {folder} (permission); choose a folder you may write to.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder (={folder}) can't be made ({error.strerror}); choose another.") from error


def _reason(error: OSError | UnicodeError) -> str:
    return getattr(error, "strerror", None) or str(error)
