"""One order of the service: a photo's file in, a folder with its result and pictures of it out."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from sdsr.batch.memory import within_memory
from sdsr.batch.restoring import look_at, read
from sdsr.batch.settings import Settings
from sdsr.errors import InputError
from sdsr.images.floats import quantize
from sdsr.job import Job, Preview
from sdsr.jobs import JobMaker
from sdsr.less_memory import chosen_with
from sdsr.photos.files import write_photo
from sdsr.photos.formats import FORMATS, Format
from sdsr.photos.limits import Limits
from sdsr.photos.photo import Photo
from sdsr.region import Region
from sdsr.request import Request
from sdsr.trust.consistency import SLIGHT, STRONG, Consistency, measure_consistency
from sdsr.web.asked import request_of
from sdsr.web.lines import Message, Outcome
from sdsr.web.pictures import (
    BEFORE,
    MAP,
    PROXY,
    enlarged,
    keep_pixels,
    kept_pixels,
    photo_box,
    proxy_size,
    view_of,
    write_proxy,
)

Tell = Callable[..., None]
"""Tells the server of an event, by its name and what belongs to it."""
Pause = Callable[[], None]
"""Called between two windows; what it does there takes none of the job's time."""
_OFTEN_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to make of `source`, in `folder`; `region` (in the result's pixels) if only that."""

    source: Path
    folder: Path
    model: str
    request: Request
    limits: Limits
    format: Format | None = None
    quality: int | None = None
    region: Region | None = None

    @classmethod
    def of(cls, message: Message) -> "Order":
        """Return the order that a server's message holds."""
        return cls(
            source=Path(message["source"]),
            folder=Path(message["folder"]),
            model=message["model"],
            request=request_of(message["request"]),
            limits=Limits(**message["limits"]),
            format=message["format"],
            quality=message["quality"],
            region=message["region"] and Region.of_box(*message["region"]),
        )


def restore(
    order: Order, maker: JobMaker, *, on_job: Callable[[Job], None], tell: Tell, pause: Pause | None = None
) -> Outcome:
    """Restore and write what the order asks for, and return what is to be said of it.

    `on_job` is given the job before it runs, so that it can be canceled. What is refused, is so before it is decoded.
    """
    began = time.monotonic()
    data = order.source.read_bytes()
    looked = look_at(data, Settings(request=order.request, limits=order.limits), format=order.format)
    request = within_memory(maker, looked.header, looked.size, order.request, passes=order.request.mean_of)
    photo = read(looked, order.limits)
    watch = _Watch(tell=tell, folder=order.folder, pause=pause)
    (result, job), note = maker.in_smaller_windows(
        photo, request, lambda request: _run(order, maker, photo, request, on_job, watch)
    )
    target = order.folder / f"result{FORMATS[looked.format].suffixes[0]}"
    write_photo(result, target, format=looked.format, quality=order.quality)
    consistency = _depict(order, photo, result, looked.size)
    return {
        "file": target.name,
        "format": looked.format,
        "bytes": target.stat().st_size,
        "size": [result.size[1], result.size[0]],
        "seconds": round(time.monotonic() - began - watch.paused_s, 2),
        "model": job.credit.model,
        "steps": len(job.plan.times),
        "seed": job.noise.seeds[0],
        "chosen": chosen_with(job.chosen, job.finish.note, note, *job.progress.notes),
        "consistency_db": None if consistency is None else round(min(consistency.psnr_db, 99.0), 2),
        "contradicts": consistency is not None and consistency.low,
    }


def _run(
    order: Order,
    maker: JobMaker,
    photo: Photo,
    request: Request,
    on_job: Callable[[Job], None],
    watch: "_Watch",
) -> tuple[Photo, Job]:
    job = maker.job(photo, request, on_progress=watch.progress)
    watch.begin(job.size if order.region is None else order.region.size)
    crop = maker.crop(job, order.region) if order.region is not None and request.mean_of == 1 else None
    ran = job if crop is None else crop.job
    on_job(ran)
    watch.plan(ran)
    if request.mean_of > 1:
        return _mean(order, maker, replace(request, protect=job.finish.places), job, watch), job
    if crop is not None:
        return crop.run(on_step=watch.step), ran
    return job.run(on_step=watch.step, on_preview=watch.preview), job


def _mean(order: Order, maker: JobMaker, request: Request, job: Job, watch: "_Watch") -> Photo:
    """Return the mean of several passes, or the region of it; `job`, which doesn't run, cancels them."""

    def progress(share: float) -> None:
        watch.progress(share)
        job.progress.check()

    passes = partial(maker.passes, count=request.mean_of, on_progress=progress)
    if order.region is None:
        return passes(job.photo, request).mean
    opaque = replace(job.photo, alpha=None)
    if not job.finish.changes:
        return passes(opaque, request, region=order.region).mean
    whole = passes(opaque, request).mean
    return replace(whole, pixels=np.ascontiguousarray(whole.pixels[order.region.rows, order.region.columns]))


class _Watch:
    """Tells what happens in a job: not more often than somebody could see it."""

    def __init__(self, *, tell: Tell, folder: Path, pause: Pause | None) -> None:
        self.tell = tell
        self.folder = folder
        self.pause = pause
        self.paused_s = 0.0
        self.told = 0.0
        self.number = 0
        self.scale = 1.0
        self.steps = 0

    def begin(self, size: tuple[int, int]) -> None:
        """Note the (height, width) of the result, which previews are reduced by."""
        self.scale = proxy_size(size[1], size[0])[0] / size[1]

    def plan(self, job: Job) -> None:
        self.steps = len(job.plan.times)
        self.tell(event="planned", steps=self.steps, windows=len(job.windows), chosen=job.chosen)

    def progress(self, share: float) -> None:
        now = time.monotonic()
        if now - self.told >= _OFTEN_S or share >= 1:
            self.told = now
            self.tell(event="window", share=round(share, 4))
        if self.pause is not None:
            began = time.monotonic()
            self.pause()
            self.paused_s += time.monotonic() - began

    def step(self, index: int, sampled: object) -> None:
        self.tell(event="step", step=index + 1, steps=self.steps)

    def preview(self, preview: Preview) -> None:
        """Keep a preview beside the result to come, and tell of it."""
        region = preview.region
        size = max(1, round(region.width * self.scale)), max(1, round(region.height * self.scale))
        self.number += 1
        write_proxy(quantize(preview.image, np.uint8), self.folder / f"preview-{self.number}.webp", size)
        self.tell(event="preview", number=self.number, region=region.box, final=preview.final)


def _depict(order: Order, photo: Photo, result: Photo, size: tuple[int, int]) -> Consistency | None:
    """Keep what the page shows of a result, beside the same of its photo; return how consistent they are."""
    pixels = view_of(result)
    small = proxy_size(result.size[1], result.size[0])
    keep_pixels(pixels, order.folder)
    write_proxy(pixels, order.folder / PROXY, small)
    box = photo_box(order.region, photo.size, size)
    write_proxy(np.asarray(enlarged(kept_pixels(order.source.parent), box, small)), order.folder / BEFORE, small)
    if order.region is not None:
        return None
    with suppress(InputError):  # a result that is smaller than its photo
        consistency = measure_consistency(replace(result, alpha=None), replace(photo, alpha=None), kernel_width=None)
        _write_map(consistency, order.folder / MAP)
        return consistency
    return None


def _write_map(consistency: Consistency, path: Path) -> None:
    """Write where a result contradicts its photo: red, from `SLIGHT` on, and the more opaque the more it does."""
    strength = ((consistency.map - SLIGHT) / (STRONG - SLIGHT)).clip(0, 1)
    height, width = strength.shape
    colors = np.zeros((height, width, 4), np.uint8)
    colors[..., 0] = 230
    colors[..., 3] = (strength * 200).astype(np.uint8)
    write_proxy(colors, path, proxy_size(width, height), lossless=True)
