"""Whether a photo fits in memory, from its header alone, and how much of it is left for windows."""

import logging
from dataclasses import replace

import psutil

from sdsr.errors import LimitError
from sdsr.jobs import JobMaker
from sdsr.less_memory import mib
from sdsr.photos.files import Header
from sdsr.request import Request
from sdsr.restoration.peak import KEPT_BYTES, MARGIN, Peak, picture_bytes, predict
from sdsr.restoration.window_sizes import window_px

log = logging.getLogger(__name__)

PASSES_BYTES_PER_PX = 44  # of several passes: their sum in float64, the spread, and a pass turned back
PROJECTION_BYTES_PER_PX = 60  # of the photo: what is left of it, the correction, and its round trip, in float32
_LIGHT = 16  # parts of what may be used; up to three photos are in memory at once


def within_memory(
    maker: JobMaker, header: Header, size: tuple[int, int], request: Request, *, passes: int = 1
) -> Request:
    """Return the request with what is left for its windows, `size` being the result's (height, width).

    What may be used is `request.memory_bytes` for the whole process, or what is free. Windows shrink, with a warning,
    where that asks for it. Raises LimitError where the photo can't be restored in it; nothing was decoded yet.
    """
    peak = predicted(maker, header, size, request, passes=passes)
    free = psutil.virtual_memory().available
    limit = free if request.memory_bytes is None else request.memory_bytes
    held = 0 if request.memory_bytes is None else psutil.Process().memory_info().rss  # libraries and weights
    allowed = round((min(free, limit - held) - KEPT_BYTES) / MARGIN)
    least = replace(peak, window=maker.least_window_bytes + maker.allocations.window_workspace_bytes).whole
    if allowed < least:
        needed = round(MARGIN * least) + KEPT_BYTES + held
        raise LimitError(
            f"output size (={size[1]}x{size[0]}) needs {mib(needed)}, and {mib(limit)} may be used;"
            " enlarge less, or give more with --memory or by closing other programs."
        )
    on_device = maker.free_bytes()
    beside = peak.held + peak.latents + maker.allocations.window_workspace_bytes
    windows = allowed - beside if on_device is None else on_device  # which an accelerator has apart from the host's
    most = maker.most_window_bytes
    per_px = maker.facts.bytes_per_px
    if request.memory_bytes is None and windows < min(most, size[0] * size[1] * per_px):
        log.warning("little memory is free (%s): the photo is restored in smaller windows.", mib(windows))
    return replace(request, memory_bytes=min(windows, most))


def predicted(
    maker: JobMaker, header: Header, size: tuple[int, int], request: Request = Request(), *, passes: int = 1
) -> Peak:
    """Return what restoring a photo to a `size` (height, width) takes, from file to file, in windows of the most."""
    photo = header.height, header.width
    canvas = maker.canvas.layout(photo, size, maker.facts.multiple_px).region
    window = window_px(maker.canvas, canvas.size, facts=maker.facts)
    by, pixel_bytes = maker.allocations, _pixel_bytes(header)
    peak = predict(maker.canvas, maker.facts, photo, size, window_px=window, by=by, pixel_bytes=pixel_bytes)
    held = peak.held
    held += size[0] * size[1] * PASSES_BYTES_PER_PX if passes > 1 else 0
    held += photo[0] * photo[1] * PROJECTION_BYTES_PER_PX if request.consistent else 0
    return replace(peak, held=held)


def is_light(header: Header, size: tuple[int, int], request: Request) -> bool:
    """Whether a photo and its result of `size` (height, width) may lie in memory while another one is restored."""
    free = psutil.virtual_memory().available
    allowed = free if request.memory_bytes is None else min(free, request.memory_bytes)
    pictures = picture_bytes((header.height, header.width), size, _pixel_bytes(header))
    return pictures * _LIGHT < allowed


def _pixel_bytes(header: Header) -> int:
    """Return the bytes of a pixel of the result."""
    return (4 if header.alpha else 3) * (2 if header.bits > 8 else 1)
