"""The report that stands beside a result: its name, and all that is known of the result when it is written."""

from pathlib import Path

import numpy as np

from sdsr.models import ModelFolder, find_model
from sdsr.photos.label import last_step
from sdsr.photos.luma import luma
from sdsr.photos.photo import Photo
from sdsr.reports.report import Examined, Report, report_on
from sdsr.trust.stored import Trust, read_trust

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
    kernel_width: float | int | None = None,
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
        return report_on(name, photo, result, settings=settings, kernel_width=kernel_width)
    found = find_model(model)
    readme = found.folder / "README.md"
    card = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    trust = read_trust(found.folder) if examined is not None else None
    reason = None if trust is None else _not_promised(trust, found, result, first)
    if reason is not None:
        trust = None
    warnings = () if reason is None else (f"No mask is shown: {reason}.",)
    return report_on(
        name,
        photo,
        result,
        settings=settings,
        card=card,
        kernel_width=kernel_width,
        examined=examined,
        trust=trust,
        warnings=warnings,
    )


def _not_promised(trust: Trust, model: ModelFolder, result: Photo, first: Photo | None) -> str | None:
    """Return why what was calibrated says nothing of a result; None where it does."""
    if trust.weights_sha256 != model.weights_sha256:
        return "the model was calibrated with other weights; calibrate it again with `sdsr study trust`"
    if first is None or not is_first_pass(result, first):
        return "what is promised of the model holds for its plain result, and this is another picture"
    return None


def is_first_pass(result: Photo, first: Photo) -> bool:
    """Whether a result is what one pass of a model gives, and nothing was done to it afterwards."""
    if any(fact in last_step(result.traits.xmp) for fact in _CHANGED) or result.size != first.size:
        return False
    return float(np.abs(luma(result) - luma(first)).mean()) <= SAME
