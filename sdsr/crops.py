"""A region of a result, restored without the rest: with the windows, noise and colors that the whole has there."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from sdsr.errors import InputError
from sdsr.images.color import WAVELET_HALO_PX
from sdsr.job import Job, Preview
from sdsr.photos.photo import Photo
from sdsr.region import Region
from sdsr.restoration.sample import Sampled
from sdsr.restoration.windowed import Windowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """`region` of what `job` makes. `alone` says whether the job makes only what the region needs, not the whole."""

    job: Job
    region: Region
    alone: bool

    def run(
        self,
        *,
        on_step: Callable[[int, Sampled], object] | None = None,
        on_preview: Callable[[Preview], None] | None = None,
    ) -> Photo:
        """Return the region restored, without alpha; see `Job.run`."""
        whole = self.job.run(on_step=on_step, on_preview=on_preview)
        pixels = np.ascontiguousarray(whole.pixels[self.region.rows, self.region.columns])
        return Photo(pixels=pixels, traits=whole.traits)


def crop_of(job: Job, region: Region, windowed: Windowed, context_px: int | None) -> Crop:
    """Return the work on a region of a job's result, in its pixels; raise InputError where it isn't within it.

    It equals that region of the whole result, up to rounding. Windows that neither it nor their neighbors' steps depend
    on are left out, if autoencoder and decoder look no further than `context_px`; where they do, or colors are measured
    over the whole picture, or it is finished as a whole (`Finish`), the whole is made.
    """
    height, width = job.size
    if region.top < 0 or region.left < 0 or region.bottom > height or region.right > width or not region.height:
        raise InputError(
            f"region (={region.width} x {region.height} at {region.left}, {region.top}) must lie within the result "
            f"({width} x {height} px); choose a smaller one."
        )
    opaque = replace(job, photo=replace(job.photo, alpha=None))
    of_whole = job.color_fix == "adain" or job.finish.changes
    if context_px is None or of_whole or job.canvas.wanted is not None:
        return Crop(job=opaque, region=region, alone=False)
    return _cropped(opaque, region, windowed, context_px)


def _cropped(job: Job, region: Region, windowed: Windowed, context_px: int) -> Crop:
    canvas = job.canvas.region
    size = canvas.size
    made = job.canvas.made
    wide = region.expand(WAVELET_HALO_PX, within=made.size)
    on_canvas = replace(wide, top=wide.top + made.top, left=wide.left + made.left)
    needed = on_canvas.relative_to(canvas).expand(context_px, within=size)
    block = _block(job, needed, context_px)
    around = block.expand(context_px + -context_px % windowed.factor, within=size)
    part = replace(
        windowed,
        around_px=(
            block.top - around.top,
            block.left - around.left,
            around.bottom - block.bottom,
            around.right - block.right,
        ),
    )
    lq_image = replace(job.canvas.part(block), result=on_canvas)
    alone = replace(job, canvas=lq_image, restorer=part)
    return Crop(job=alone, region=region.relative_to(wide), alone=block != Region.whole(*size))


def _block(job: Job, needed: Region, context_px: int) -> Region:
    """Return the windows that a part of the canvas depends on, as the rectangle they fill.

    In each step before the last, a window looks at all that its neighbors gave it.
    """
    windows = job.windows
    size = job.canvas.region.size
    reach = context_px if job.plan.refinement is not None else 0
    block = _around(window for window in windows if _meet(window, needed))
    for _ in job.plan.times[1:]:
        wider = block.expand(reach, within=size)
        block = _around(window for window in windows if _meet(window, wider))
    return block


def _meet(one: Region, other: Region) -> bool:
    rows = one.top < other.bottom and other.top < one.bottom
    return rows and one.left < other.right and other.left < one.right


def _around(regions: Iterable[Region]) -> Region:
    """Return the smallest rectangle that holds them all."""
    held = list(regions)
    top = min(region.top for region in held)
    left = min(region.left for region in held)
    bottom = max(region.bottom for region in held)
    right = max(region.right for region in held)
    return Region(top=top, left=left, height=bottom - top, width=right - left)
