"""What a restoration was, as the step that a picture's label tells of."""

import hashlib
from collections.abc import Mapping

import numpy as np

from sdsr import __version__
from sdsr.photos.label import Step
from sdsr.photos.photo import Photo
from sdsr.request import ColorFix
from sdsr.restoration.plan import Plan

SOFTWARE = "sdsr"


def step_of(
    photo: Photo,
    *,
    model: str,
    weights_sha256: str | None,
    size: tuple[int, int],
    seed: int,
    plan: Plan,
    color_fix: ColorFix,
    own_decoder: bool,
    prompt: str | None,
    more: Mapping[str, str] | None = None,
) -> Step:
    """Return the step that made a result of this size (height, width) from a photo.

    What was settled is told, not how it was asked for, and nothing of the machine: not the windows that memory allowed,
    not device or precision. A plan's fidelity counts where the method has a decoder of its own. `more` is said
    behind the rest.
    """
    height, width = size
    facts = {
        "weightsSha256": weights_sha256,
        **_input_of(photo),
        "width": str(width),
        "height": str(height),
        "seed": str(seed),
        "times": " ".join(map(str, plan.times)),
        "fidelity": f"{plan.fidelity:g}" if own_decoder else None,
        "colorFix": color_fix,
        "prompt": prompt,
        **(more or {}),
    }
    told = {name: fact for name, fact in facts.items() if fact is not None}
    return Step(software=SOFTWARE, version=__version__, model=model, facts=told)


def _input_of(photo: Photo) -> dict[str, str]:
    """Return the sha256 of the photo's file; of its pixels, then alpha (16 bits little-endian), where it had none."""
    if photo.source_sha256 is not None:
        return {"inputSha256": photo.source_sha256}
    digest = hashlib.sha256()
    for samples in (photo.pixels, photo.alpha):
        if samples is not None:
            digest.update(np.ascontiguousarray(samples.astype(samples.dtype.newbyteorder("<"), copy=False)).data)
    return {"inputPixelsSha256": digest.hexdigest()}
