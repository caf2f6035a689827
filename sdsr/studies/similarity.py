"""The photos whose descriptions CLIP compares: one as it is, degraded, and restored again."""

from collections.abc import Sequence
from pathlib import Path

from sdsr.data.degradation import Degradation
from sdsr.metrics.planes import Pixels, resized
from sdsr.photos.files import read_photo
from sdsr.studies.degraded import degraded_photo
from sdsr.upscaling import Request, Upscaler


def versions(path: Path, settings: Degradation, models: Sequence[str], seed: int = 0) -> dict[str, Pixels]:
    """A photo degraded and enlarged again by bicubic, then restored by each of the models, all at the photo's size."""
    lq = degraded_photo(read_photo(path), settings, seed)
    height, width = (side * settings.scale for side in lq.size)
    request = Request(width=width, height=height, seed=seed)
    return {f"degraded by {settings.name}": resized(lq.pixels, (width, height))} | {
        f"restored by {model}": Upscaler.from_pretrained(model).upscale(lq, request).pixels for model in models
    }
