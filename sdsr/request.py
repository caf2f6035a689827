"""What is wanted of one photo, said without any model: of the standard library only, so that it loads fast."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from sdsr.errors import InputError
from sdsr.photos.sizes import output_size
from sdsr.region import Region

PlaceKind = Literal["text"]
ColorFix = Literal["wavelet", "adain", "ycbcr", "none"]

DEFAULT_SEED = 0
_OF_DIFFUSERS = {
    "num_inference_steps": "steps",
    "guidance_scale": "fidelity",
    "strength": "start",
    "negative_prompt": None,
}
"""What diffusers' pipelines call a field; None for what a method keeps to itself."""


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


def to_request(keywords: Mapping[str, Any]) -> Request:
    """Return the request with fields of these names; raise InputError for a name that is none, with the nearest one.

    >>> to_request({"scale": 2}).scale
    2
    """
    names = [field.name for field in fields(Request)]
    for name in keywords:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
            hint = f"did you mean {near!r}?"
            if name in _OF_DIFFUSERS:
                own = _OF_DIFFUSERS[name]
                hint = f"it is called {own!r} here." if own else "it is the method's own, so leave it out."
            raise InputError(f"keyword (={name}) must be one of {', '.join(names)}; {hint}")
    return Request(**keywords)
