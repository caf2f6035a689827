"""What is wanted of one photo, said without any model: of the standard library only, so that it loads fast."""

from dataclasses import dataclass
from typing import Literal

from sdsr.photos.sizes import output_size
from sdsr.region import Region

PlaceKind = Literal["text"]
ColorFix = Literal["wavelet", "adain", "ycbcr", "none"]

DEFAULT_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is wanted of one photo. Its size: `scale`, `width` and/or `height`, or `megapixels`; x4 if nothing is said.

    A method's plan is made by `steps`, `start` (in the paper's counting; "auto" chooses it for each photo, and any is
    taken with `untrained_start`) and `fidelity` (0 ... 1, how near to the photo); these, `color_fix` and `prompt` are
    the method's own unless stated. `seed` is of the noise, which belongs to the photo's canvas; where a method draws
    none, as the default, it changes nothing. `memory_bytes` bounds what may be used at once; it changes the windows,
    not the noise. With `label` the result's XMP says that a model restored it, and how
    (docs/labels.md).

    Of docs/trust.md: `consistent` makes the result, reduced, the photo again: by bicubic, `kernel_width` (1 to 8) times
    as wide, or as wide as is estimated. In places to `protect`, in the photo's pixels, or where "text" is found, the
    photo itself is enlarged. The result is the mean of so many passes (`mean_of`, up to 8), of which a job is one.
    """

    scale: float | int | None = None
    width: int | None = None
    height: int | None = None
    megapixels: float | int | None = None
    seed: int = DEFAULT_SEED
    steps: int | None = None
    start: int | Literal["auto"] | None = None
    untrained_start: bool = False
    prompt: str | None = None
    fidelity: float | int | None = None
    color_fix: ColorFix | None = None
    memory_bytes: int | None = None
    label: bool = True
    consistent: bool = False
    kernel_width: float | int | None = None
    protect: tuple[Region | PlaceKind, ...] = ()
    mean_of: int = 1

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) of the result for a photo of this size; raise InputError where there is none."""
        named = (self.scale, self.width, self.height, self.megapixels)
        scale = 4.0 if all(value is None for value in named) else self.scale
        return output_size(
            width, height, scale=scale, to_width=self.width, to_height=self.height, megapixels=self.megapixels
        )
