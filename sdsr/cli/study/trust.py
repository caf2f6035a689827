"""`sdsr study trust`: how far a model can be believed, calibrated on photos whose truth is known."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from sdsr.cli.options import Device, FirstPhotos, NoiseSeed, Prior
from sdsr.digests import combined_sha256, file_sha256
from sdsr.errors import InputError
from sdsr.metrics.pairs import photos_by_name
from sdsr.metrics.tables import aligned
from sdsr.models import find_model
from sdsr.request import Request
from sdsr.trust.expected_error import ExpectedError
from sdsr.trust.mask import LEAST_PHOTOS, Calibration
from sdsr.trust.stored import Trust, write_trust

if TYPE_CHECKING:
    from sdsr.studies.examined import Examined


def trust(
    model: Annotated[str, typer.Argument(help="A method, or a folder of a trained one.")],
    hr: Annotated[Path, typer.Argument(help="Folder of true photos to calibrate on; they are degraded first.")],
    check: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of LQ photos, then (again) that of their truths, to check the promises on."),
    ] = None,
    degraded: Annotated[str, typer.Option(help="The degradation.")] = "photo",
    passes: Annotated[int, typer.Option(min=2, max=8, help="Passes whose disagreement is looked at.")] = 4,
    error: Annotated[
        list[float] | None, typer.Option(help="What the mean error shall stay below, in levels of 255; repeatable.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="How sure that shall be, 0 ... 1.")] = 0.95,
    photos: FirstPhotos = None,
    crop: Annotated[int | None, typer.Option(min=64, help="Take the middle square of this side, of the truth.")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep in this folder what was examined, and go on from there.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Store what was found in the model's folder.")] = False,
    seed: NoiseSeed = 0,
    prior: Prior = None,
    device: Device = None,
) -> None:
    """Correlate clues with true errors, calibrate promises on photos, and check them on others."""
    from sdsr.data.degradation import degradation
    from sdsr.studies.examined import Archive, examine
    from sdsr.studies.samples import degraded_samples, middle_of_pair, paired_samples
    from sdsr.studies.trust import calibrated_with, weighed
    from sdsr.studies.trust import check as kept_on
    from sdsr.upscaling import Upscaler

    if check is not None and len(check) != 2:
        raise InputError(f"--check (={len(check)} folders) takes two, of LQ photos and of true photos; give both.")
    upscaler = Upscaler.from_pretrained(model, prior=prior, device=device)
    described = find_model(model)
    settings = degradation(degraded)
    samples = degraded_samples(hr, settings, photos, crop)
    pairs = paired_samples(check[0], check[1], photos) if check else ()
    if crop is not None:
        pairs = tuple(middle_of_pair(pair, crop, settings.scale) for pair in pairs)
    run = partial(upscaler.passes, request=Request(seed=seed, label=False), count=passes)
    told = lambda name: typer.echo(f"sdsr: {name}", err=True)  # noqa: E731
    weights = f"{described.weights_sha256} on {upscaler.restorer.prior.sha256}"
    kept = keep and Archive(folder=keep, run=f"{weights}, {passes} passes from {seed}")
    examined = examine(samples, run, told, kept)
    others = examine(pairs, run, told, kept)
    expected, rest = weighed(examined)
    wanted = [each / 255 for each in error or _median_errors(examined)]
    promises = [calibrated_with(expected, rest, error=each, confidence=confidence) for each in wanted]
    typer.echo(_correlations({"these photos": examined, "others": others}, expected))
    lines = [_promise(promise, rest, others, expected, kept_on) for promise in promises]
    for promise, line in zip(promises, lines, strict=True):
        typer.echo(f"{line}; {_halvings(promise, rest, expected)}")
    if write:
        files = [file_sha256(path) for path in list(photos_by_name(hr).values())[:photos]]
        part = f", middle {crop} px," if crop else ""
        source = (
            f"{len(rest)} photos of {hr.name}{part} by degradation {degraded}; "
            f"weights: {len(examined) - len(rest)} others"
        )
        found = Trust(
            passes=passes,
            expected=expected,
            calibrations=tuple(promises),
            source=source,
            photos_sha256=combined_sha256(files),
            weights_sha256=described.weights_sha256,
            checked=tuple(lines),
        )
        write_trust(found, described.folder)


def _median_errors(examined: "Sequence[Examined]") -> list[float]:
    """The median of the photos' mean errors, in levels of 255, and half of it more and less."""
    middle = median(float(photo.error.mean()) for photo in examined) * 255
    return [round(share * middle, 1) for share in (1.0, 0.5, 1.5)]


def _correlations(sets: "Mapping[str, Sequence[Examined]]", expected: ExpectedError) -> str:
    from sdsr.studies.trust import rank_correlations

    rows = [["Spearman with the true error, median (quartiles)", *(name for name, photos in sets.items() if photos)]]
    found = [rank_correlations(photos, expected) for photos in sets.values() if photos]
    for name in found[0]:
        quartiles = [np.percentile(each[name], (25, 50, 75)) for each in found]
        rows.append([name, *(f"{middle:.3f} ({low:.2f} ... {high:.2f})" for low, middle, high in quartiles)])
    return aligned(rows)


def _promise(
    promise: Calibration, rest: "Sequence[Examined]", others: "Sequence[Examined]", expected: ExpectedError, kept_on
) -> str:
    text = f"error < {promise.error * 255:.1f} with {promise.confidence:.0%}: threshold {promise.threshold * 255:.1f}"
    for name, photos in (("calibration", rest), ("others", others)):
        if photos:
            kept = kept_on(photos, expected, promise)
            text += f"; {name}: {kept.share:.0%} unmasked, error {kept.risk * 255:.1f} (whole {kept.whole * 255:.1f})"
    return text


def _halvings(promise: "Calibration", rest: "list[Examined]", expected: "ExpectedError") -> str:
    """How often the promise is kept in random halvings, where each half is enough to calibrate on."""
    from sdsr.studies.trust import kept_in_splits

    if len(rest) < 2 * LEAST_PHOTOS:
        return f"no halvings of {len(rest)} photos, which take {2 * LEAST_PHOTOS}"
    share = kept_in_splits(expected, rest, error=promise.error, confidence=promise.confidence)
    return f"kept in {share:.0%} of 100 random halvings"
