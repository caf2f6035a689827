"""What a report says in the end, in one or two sentences that stand before all figures."""

from sdsr.reports.report import Promise, Report

MOST = 0.5
"""Of the promises, the strictest that is made of so large a share of the result is the one that is told."""


def verdict(report: Report) -> str:
    """Return whether the result contradicts its photo, what is promised of it, and whether there are warnings."""
    told = [_of_the_photo(report), _of_the_truth(report)]
    count = len(report.warnings)
    if count:
        told.append("Read the warning below first." if count == 1 else f"Read the {count} warnings below first.")
    return " ".join(told)


def _of_the_photo(report: Report) -> str:
    if report.consistency.low:
        return "The result contradicts its photo: its colors or shapes are others."
    difference = float(report.consistency.map.mean()) * 255
    return (
        f"The result does not contradict its photo (reduced, it differs by {difference:.1f} of 255 levels on average); "
        "detail finer than the photo's pixels may be made up, and nothing can check it."
    )


def _of_the_truth(report: Report) -> str:
    promise = _told(report.promises())
    if promise is None:
        return f"How far it is from the truth is not known: {report.no_mask or 'it was not looked at'}."
    if not promise.unmasked_share:
        return "No part of it is promised to be near the truth."
    return (
        f"If it is a photo of a camera, the mean error in {promise.unmasked_share:.0%} of it is promised to be below "
        f"{promise.mean_error_below:.1f} of 255 levels, with {promise.confidence:.0%} confidence."
    )


def _told(promises: list[Promise]) -> Promise | None:
    """Return the strictest promise that is made of most of the result, or else that of the largest share."""
    of_most = [each for each in promises if each.unmasked_share >= MOST]
    if of_most:
        return min(of_most, key=lambda each: each.mean_error_below)
    return max(promises, key=lambda each: each.unmasked_share, default=None)
