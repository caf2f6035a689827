"""The report that stands beside a result: its name, and all that is known of the result when it is written."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sdsr.method_folders import embedded_methods
from sdsr.models import DEFAULT_MODEL, ModelFolder, find_model
from sdsr.photos.label import last_step
from sdsr.photos.luma import luma
from sdsr.photos.photo import Photo
from sdsr.reports.report import Examined, Report, passes_needed, report_on
from sdsr.trust.stored import Trust, read_trust

SUFFIX = ".report.html"
SAME = 2 / 255
"""Mean difference of luma up to which a result counts as what a model makes; JPEG at quality 95 stays below."""
_CHANGED = ("consistent", "protected", "passes")
_ANOTHER = "what is promised of the model holds for its plain result, and this is another picture"


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
        no_mask = _ANOTHER if _is_changed(result) else _model_needed(settings)
        return report_on(name, photo, result, settings=settings, kernel_width=kernel_width, no_mask=no_mask)
    found = find_model(model)
    readme = found.folder / "README.md"
    card = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    trust = read_trust(found.folder)
    no_mask = _not_promised(trust, found, result, first=first, examined=examined)
    return report_on(
        name,
        photo,
        result,
        settings=settings,
        card=card,
        kernel_width=kernel_width,
        examined=examined,
        trust=trust if no_mask is None else None,
        no_mask=no_mask,
    )


def _not_promised(
    trust: Trust | None, model: ModelFolder, result: Photo, *, first: Photo | None, examined: Examined | None
) -> str | None:
    """Return why what was calibrated says nothing of a result; None where it does."""
    if trust is None:
        return "the model was never calibrated; `sdsr study trust` does that"
    if trust.weights_sha256 != model.weights_sha256:
        return "the model was calibrated with other weights; calibrate it again with `sdsr study trust`"
    if _is_changed(result):
        return _ANOTHER
    if examined is None or examined.passes != trust.passes:
        return passes_needed(trust.passes, examined)
    return None if first is not None and is_first_pass(result, first) else _ANOTHER


def _model_needed(settings: Mapping[str, str]) -> str:
    """Return why there is no mask where no model was asked, by the model that the result's label names."""
    name = settings.get("model")
    trust = read_trust(find_model(name).folder) if name in embedded_methods() else None
    if name is None or trust is None:
        return "it takes several passes of the model that made the result, by --passes and --model"
    return passes_needed(trust.passes, None) + ("" if name == DEFAULT_MODEL else f" --model {name}")


def is_first_pass(result: Photo, first: Photo) -> bool:
    """Whether a result is what one pass of a model gives, and nothing was done to it afterwards."""
    if _is_changed(result) or result.size != first.size:
        return False
    return float(np.abs(luma(result) - luma(first)).mean()) <= SAME


def _is_changed(result: Photo) -> bool:
    """Whether the label says that something was done to what the model made."""
    return any(fact in last_step(result.traits.xmp) for fact in _CHANGED)
