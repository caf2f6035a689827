"""The report that stands beside a result: its name, and all that is known of the result when it is written."""

from pathlib import Path

import numpy as np

from sdsr.models import find_model
from sdsr.photos.label import last_step
from sdsr.photos.luma import luma
from sdsr.photos.photo import Photo
from sdsr.reports.report import Examined, Report, report_on
from sdsr.trust.stored import read_trust

SUFFIX = ".report.html"
SAME = 2 / 255
"""Mean difference of luma up to which a result counts as what a model makes; JPEG at quality 95 stays below."""
_CHANGED = ("consistent", "protected", "passes")


def page_beside(result: Path) -> Path:
    """Return the page of a result; its figures, as JSON, are called alike."""
    return result.with_name(result.name + SUFFIX)


def report_result(
    name: str,
    photo: Photo,
    result: Photo,
    *,
    model: str | Path | None = None,
    first: Photo | None = None,
    examined: Examined | None = None,
) -> Report:
    """Return the report of a result of whatever program, with the card of the model that is named.

    `examined` is what several passes of that model over the photo showed, and `first` the first of them. What the model
    was calibrated for is told only of a result that is this first pass: of another program's picture, or a mean, or
    a projected one, it promises nothing.
    """
    settings = last_step(result.traits.xmp)
    if model is None:
        return report_on(name, photo, result, settings=settings)
    folder = find_model(model).folder
    readme = folder / "README.md"
    card = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    trust = read_trust(folder) if examined is not None else None
    warnings: tuple[str, ...] = ()
    if trust is not None and not (first is not None and is_first_pass(result, first)):
        trust = None
        warnings = (
            "No mask is shown: what is promised of the model holds for its plain result, and this is another picture.",
        )
    return report_on(
        name, photo, result, settings=settings, card=card, examined=examined, trust=trust, warnings=warnings
    )


def is_first_pass(result: Photo, first: Photo) -> bool:
    """Whether a result is what one pass of a model gives, and nothing was done to it afterwards."""
    if any(fact in last_step(result.traits.xmp) for fact in _CHANGED) or result.size != first.size:
        return False
    return float(np.abs(luma(result) - luma(first)).mean()) <= SAME
