"""This machine as an engine: one upscaler, photos one after another; a bad one is reported and the rest go on."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from sdsr import __version__
from sdsr.batch.manifest import Manifest, Work
from sdsr.batch.memory import ran_out, with_smaller_windows, within_memory
from sdsr.batch.walking import Job
from sdsr.digests import file_sha256
from sdsr.errors import OutputError, SdsrError
from sdsr.images.files import Format, Limits, Photo, Source, check_output, format_of, probe, read_photo, write_photo
from sdsr.images.layout import check_transparency
from sdsr.prior.weight_files import module_sha256
from sdsr.upscaling import Request, Upscaler

OnProgress = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is the same for all photos of a batch; `format` and `quality` None keep each photo's own."""

    request: Request = field(default_factory=Request)
    format: Format | None = None
    quality: int | None = None
    overwrite: bool = False
    limits: Limits = field(default_factory=Limits)


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
    jobs: Iterable[Job], upscaler: Upscaler, settings: Settings, *, on_progress: Callable[[Job, float], None]
) -> Iterator[Outcome]:
    """Restore the photos one after another and yield what became of each.

    In a folder of results, what is finished is skipped and what gets finished is noted. `on_progress` hears of the
    share of each job that is done. Only the library's own errors are reported as outcomes.
    """
    digest = settings_sha256(upscaler, settings)
    manifests: dict[Path, Manifest] = {}
    for job in jobs:
        on_progress(job, 0.0)
        begun = time.perf_counter()
        outcome = Outcome(
            input=str(job.source),
            output=str(job.target),
            status="failed",
            model=upscaler.recipe.name,
            seed=settings.request.seed,
        )
        try:
            if job.root is not None and job.root not in manifests:
                manifests[job.root] = Manifest(job.root)
            manifest = manifests[job.root] if job.root is not None else None
            done, chosen = _process_one(
                job, upscaler, settings, manifest, digest, lambda share, job=job: on_progress(job, share)
            )
            outcome = replace(outcome, status="skipped" if done is None else "done", size=done, chosen=chosen)
        except SdsrError as error:
            outcome = replace(outcome, error=str(error))
        yield replace(outcome, seconds=round(time.perf_counter() - begun, 3))
        on_progress(job, 1.0)


def restore(
    source: Source,
    upscaler: Upscaler,
    settings: Settings,
    *,
    format: Format | None,
    on_progress: OnProgress | None = None,
) -> tuple[Photo, str | None]:
    """Return one photo restored, and what was chosen for it.

    What can't be done within limits and memory is refused before anything is decoded.
    """
    header = probe(source, settings.limits)
    width, height = settings.request.size(header.width, header.height)
    check_output(header, (height, width), format or header.format, settings.limits)
    request = within_memory(upscaler, header, (height, width), settings.request)
    photo = read_photo(source, settings.limits)
    check_transparency(photo, format or header.format)
    request, chosen = upscaler.settled(photo, request)
    while True:
        try:
            return upscaler.upscale(photo, request, on_progress=on_progress), chosen
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
            request = with_smaller_windows(upscaler, request)


def settings_sha256(upscaler: Upscaler, settings: Settings) -> str:
    """Return the sha256 of all that a result depends on besides photo and format: version, weights, settings."""
    request = asdict(settings.request)
    del request["memory_bytes"]  # bounds the windows, not what is wanted
    color_fix = settings.request.color_fix or upscaler.recipe.color_fix
    weights = upscaler.restorer.prior.sha256, module_sha256(upscaler.restorer.parts.modules)
    wanted = __version__, upscaler.recipe.name, *weights, {**request, "color_fix": color_fix}
    return hashlib.sha256(repr((wanted, settings.quality)).encode()).hexdigest()


def _process_one(
    job: Job, upscaler: Upscaler, settings: Settings, manifest: Manifest | None, digest: str, on_progress: OnProgress
) -> tuple[tuple[int, int] | None, str | None]:
    """Restore one photo into its file; return its size, None where it was there already, and what was chosen."""
    format = format_of(job.target)
    probe(job.source, settings.limits)
    work = Work(input_sha256=file_sha256(job.source), settings_sha256=digest)
    if manifest is not None and manifest.finished(job.target, work):
        return None, None
    _check_target(job.target, overwrite=settings.overwrite, new_folders=job.root is not None)
    photo, chosen = restore(job.source, upscaler, settings, format=format, on_progress=on_progress)
    _make_folder(job.target.parent)
    replaced = job.target.exists()
    if manifest is not None and not replaced:
        manifest.begin(job.target, work)
    write_photo(photo, job.target, format=format, quality=settings.quality, overwrite=settings.overwrite)
    if manifest is not None:
        manifest.finish(job.target, work)
    return (photo.size[1], photo.size[0]), chosen


def _check_target(target: Path, *, overwrite: bool, new_folders: bool) -> None:
    """Raise OutputError, before hours of work, where the result could not be written in the end."""
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists already; choose another name or folder, or allow --overwrite.")
    if target.is_dir():
        raise OutputError(f"{target} is a folder; choose another name.")
    folder = target.parent
    while new_folders and not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{target.name} can't be written: its folder (={folder}) is missing; create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{target.name} can't be written to {folder} (permission); choose a folder you may write to.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder (={folder}) can't be made ({error.strerror}); choose another.") from error
