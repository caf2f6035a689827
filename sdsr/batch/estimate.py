"""What a batch would take: photos, megapixels, time and disk, from headers and a short probe; nothing is written."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from sdsr.batch.desk import Batch, Desk
from sdsr.batch.naming import nearest_folder
from sdsr.batch.outcome import complaint
from sdsr.batch.restoring import Looked, header_of, look_at
from sdsr.batch.settings import Settings
from sdsr.batch.walking import Task
from sdsr.errors import InputError, OutputError, SdsrError
from sdsr.photos.limits import Limits
from sdsr.region import Region

if TYPE_CHECKING:
    from sdsr.jobs import JobMaker
    from sdsr.photos.photo import Photo

_SAMPLE = 200  # headers that are read, evenly spread
_PROBES = 3
_PROBE_PX = 128  # side of what is restored of each
_PROBE_S = 20.0  # after which no other photo is probed
_COMPLAINTS = 5  # of unreadable photos that are named
_NOTE_BYTES = 1_000  # of the manifest, for each photo


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a batch would take.

    Of `photos`, so many are `finished`; of those `to_do`, `unreadable` can't be restored, as far as `sampled` headers
    tell, for reasons of which `complaints` are the first, and `labeled` ones are results of earlier runs, which are
    passed over. `seconds` is for one process on this machine. `free_bytes` is
    of the disk that has the results.
    """

    photos: int
    finished: int
    to_do: int
    sampled: int
    unreadable: int
    megapixels_in: float
    megapixels_out: float
    seconds: float | None
    disk_bytes: int | None
    free_bytes: int
    complaints: tuple[str, ...] = ()
    labeled: int = 0

    def check(self) -> None:
        """Raise OutputError where the disk can't hold the results."""
        if self.disk_bytes is not None and self.disk_bytes > self.free_bytes:
            raise OutputError(
                f"results need about {decimal(self.disk_bytes)}, and {decimal(self.free_bytes)} are free; free "
                "some, name another disk with -o, or a smaller format with --format."
            )


def estimate(batch: Batch, *, clock: Callable[[], float] = time.perf_counter) -> Estimate:
    """Return what a batch would take.

    Headers are read of a sample, and the middles of a few photos are restored and encoded to know time and bytes.
    """
    tasks = batch.tasks
    settings = batch.settings
    desk = Desk(batch=batch)
    left = [task for task in tasks if not desk.seems_finished(task)]
    finished = len(tasks) - len(left)
    left = left[: batch.limit]
    step = max(1, -(-len(left) // _SAMPLE))
    sample = left[::step]
    looked, labeled, complaints = _look_at(sample, settings)
    times = len(left) / len(sample) if sample else 0.0
    seconds_per_px, bytes_per_px = _probe(looked, desk, clock) if looked else (None, None)
    pixels = sum(each.size[0] * each.size[1] for each in looked) * times
    return Estimate(
        photos=len(tasks),
        finished=finished,
        to_do=len(left),
        sampled=len(sample),
        unreadable=round((len(sample) - len(looked) - labeled) * times),
        megapixels_in=round(sum(each.header.width * each.header.height for each in looked) * times / 1e6, 3),
        megapixels_out=round(pixels / 1e6, 3),
        seconds=None if seconds_per_px is None else round(seconds_per_px * pixels * settings.restorations, 1),
        disk_bytes=None if bytes_per_px is None else round(bytes_per_px * pixels) + len(left) * _NOTE_BYTES,
        free_bytes=min((_free_bytes(root) for root in {task.root or task.target.parent for task in tasks}), default=0),
        complaints=tuple(complaints[:_COMPLAINTS]),
        labeled=round(labeled * times),
    )


def _look_at(sample: Sequence[Task], settings: Settings) -> tuple[list[Looked], int, list[str]]:
    """Return what headers say of the work, how many are earlier results, and what is wrong with unreadable photos."""
    from sdsr.photos.probe import format_of

    found: list[Looked] = []
    labeled = 0
    complaints: list[str] = []
    for task in sample:
        try:
            header = header_of(task, task.source, settings)
            if header is None:
                labeled += 1
            else:
                found.append(look_at(task.source, settings, format=format_of(task.target), header=header))
        except (SdsrError, OSError) as error:
            complaints.append(complaint(task.photo, str(error)))
    return found, labeled, complaints


def _probe(photos: Sequence[Looked], desk: Desk, clock: Callable[[], float]) -> tuple[float | None, float | None]:
    """Return seconds and bytes for each pixel of a result, of the middles of a few photos; None where none can be."""
    from sdsr.photos.files import encode_photo

    until = clock() + _PROBE_S
    settings = desk.batch.settings
    seconds = 0.0
    encoded = 0
    pixels = 0
    for looked in photos[:: max(1, len(photos) // _PROBES)][:_PROBES]:
        if pixels and clock() > until:
            break
        try:
            middle = _middle(looked, settings.limits)
            maker = desk.maker()
            if not pixels:  # the first is slower than all others
                _restored(middle, looked, maker, settings)
            begun = clock()
            result = _restored(middle, looked, maker, settings)
            data = encode_photo(result, looked.format, settings.quality)
        except InputError:
            continue
        seconds += clock() - begun
        encoded += len(data)
        pixels += result.size[0] * result.size[1]
    return (seconds / pixels, encoded / pixels) if pixels else (None, None)


def _middle(looked: Looked, limits: Limits) -> "Photo":
    from sdsr.photos.files import read_photo

    photo = read_photo(looked.source, limits)
    part = Region.middle(photo.size, (_PROBE_PX, _PROBE_PX))
    alpha = None if photo.alpha is None else photo.alpha[part.rows, part.columns]
    return replace(photo, pixels=photo.pixels[part.rows, part.columns], alpha=alpha)


def _restored(middle: "Photo", looked: Looked, maker: "JobMaker", settings: Settings) -> "Photo":
    plain = {"width": None, "height": None, "megapixels": None, "protect": (), "mean_of": 1}
    scale = max(1e-3, looked.size[1] / looked.header.width)
    request = replace(settings.request, scale=scale, **plain)
    return maker.job(middle, request).run()


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(nearest_folder(folder)).free
