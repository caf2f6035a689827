"""What the automatic start is worth: photos degraded in known ways, restored from each start that a method knows."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from sdsr.data.degradation import LowImage
from sdsr.errors import InputError
from sdsr.images.resize import resample
from sdsr.losses.filters import gaussian_blur
from sdsr.photos.photo import Photo
from sdsr.studies.comparison import Plans
from sdsr.tensors import Image
from sdsr.upscaling import Request, Upscaler

AUTOMATIC = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDegradation:
    """A synthetic LQ photo: reduced, blurred by a Gaussian of `blur` px, then noised by `noise` (of the range's 1)."""

    name: str
    blur: float = 0.0
    noise: float = 0.0

    def __call__(self, truth: Image, scale: int, rng: torch.Generator) -> LowImage:
        """Return it for photos whose sides are multiples of `scale`."""
        height, width = (side // scale for side in truth.shape[-2:])
        reduced = resample(truth, (height, width))
        blurred = gaussian_blur(reduced, self.blur) if self.blur else reduced
        return (blurred + self.noise * torch.randn(blurred.shape, generator=rng)).clamp(0, 1)


DEGRADATIONS = (
    KnownDegradation(name="clean"),
    KnownDegradation(name="noisy", noise=12 / 255),
    KnownDegradation(name="very noisy", noise=30 / 255),
    KnownDegradation(name="blurred", blur=1.3),
    KnownDegradation(name="very blurred", blur=2.5),
    KnownDegradation(name="blurred and noisy", blur=1.3, noise=12 / 255),
)


def plans_of_starts(upscaler: Upscaler) -> Callable[[Photo], Plans]:
    """Return the plans to compare for a photo: from each trained start, and from the one that is chosen for it.

    Raises InputError for a method without starts.
    """
    starts = upscaler.recipe.starts
    if not starts:
        raise InputError(f"model (={upscaler.recipe.name}) has no choice of starts; try invsr-small.")
    fixed = {str(start): upscaler.plan(start=start) for start in starts}
    return lambda lq: fixed | {AUTOMATIC: upscaler.job(lq, Request(start="auto")).plan}
