"""Scores as text: a markdown table of means, CSV by photo, JSON with intervals; each names its protocol."""

import json
import math
import platform
from collections.abc import Mapping
from types import MappingProxyType

from sdsr.extras import version_of
from sdsr.metrics.benchmark import Scores
from sdsr.metrics.protocol import Measure
from sdsr.metrics.tables import aligned, csv_text

WARNING = (
    "No single figure is quality: on RealSR, bicubic with an unsharp mask and film grain has PSNR-Y 27.08, "
    "SSIM-Y 0.741, NIQE 6.41, and restores nothing. Read combs (0 is clean), edge (above 1 is blur) and features, and "
    "hf_busy, hf_flat and grid too (1 is ideal); look at photos."
)
SIGNS = {"higher": "↑", "lower": "↓", "near 1": "≈ 1", "at most 1": "≤ 1"}
_PACKAGES = ("sdsr", "numpy", "pillow", "torch")


def markdown(rows: Mapping[str, Scores], ranks: Mapping[str, float] = MappingProxyType({})) -> str:
    """One line for each set of results, its figures with 95 % intervals; all under one protocol.

    `ranks` adds the mean rank of the rows that it names.
    """
    first = next(iter(rows.values()))
    assert all(scores.protocol.name == first.protocol.name for scores in rows.values()), "one table, one protocol"
    measures = _all_measures(rows)
    lines = [
        ["results", "n", *(f"{measure.name} {SIGNS[measure.better]}" for measure in measures)],
        *(
            [label, str(len(scores.names)), *(_cell(scores, measure) for measure in measures)]
            for label, scores in rows.items()
        ),
    ]
    if ranks:
        column = [f"mean rank {SIGNS['lower']}", *(_rank(ranks.get(label, math.nan)) for label in rows)]
        lines = [[*line, cell] for line, cell in zip(lines, column, strict=True)]
    head = f"Protocol {first.protocol.name}: {first.protocol.description}; in brackets 95 % intervals."
    return f"{head}\n\n{aligned(lines)}\n\n{WARNING}\n"


def _all_measures(rows: Mapping[str, Scores]) -> tuple[Measure, ...]:
    return tuple({measure.name: measure for scores in rows.values() for measure in scores.protocol.measures}.values())


def _cell(scores: Scores, measure: Measure) -> str:
    if measure.name not in scores.values:
        return "-"
    figure = scores.of(measure)
    low, high = scores.interval(measure)
    if not math.isfinite(figure):
        return "-"
    text = f"{figure:.{measure.decimals}f}"
    return text if math.isnan(low) else f"{text} ({low:.{measure.decimals}f} to {high:.{measure.decimals}f})"


def _rank(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def table_csv(rows: Mapping[str, Scores]) -> str:
    """A line for each photo of each set of results under the measures' names; the protocol in the last column."""
    measures = _all_measures(rows)
    lines = [
        [label, name, *(scores.photo(measure, index) for measure in measures), scores.protocol.name]
        for label, scores in rows.items()
        for index, name in enumerate(scores.names)
    ]
    return csv_text([["results", "photo", *(measure.name for measure in measures), "protocol"], *lines])


def table_json(
    rows: Mapping[str, Scores],
    anchors: Mapping[str, Scores] = MappingProxyType({}),
    ranks: Mapping[str, float] = MappingProxyType({}),
) -> str:
    """The figures under the measures' names beside protocol, n, intervals and versions; null where undefined.

    Those of one set of results stand at the top; those of several under `results`, with their mean ranks.
    """
    contents = {label: _content(scores) for label, scores in rows.items()}
    if len(rows) == 1:
        (content,) = contents.values()
    else:
        content = {"results": contents, "mean_ranks": {label: _number(rank) for label, rank in ranks.items()}}
    content["anchors"] = {label: _figures(row) for label, row in anchors.items()}
    content["versions"] = {
        "python": platform.python_version(),
        **{package: version_of(package) for package in _PACKAGES},
    }
    return json.dumps(content, indent=2)


def _content(scores: Scores) -> dict[str, object]:
    measures = scores.protocol.measures
    return {
        "protocol": scores.protocol.name,
        "description": scores.protocol.description,
        "n": len(scores.names),
        **_figures(scores),
        "intervals": {measure.name: [_number(end) for end in scores.interval(measure)] for measure in measures},
        "photos": {
            name: {measure.name: _number(scores.photo(measure, index)) for measure in measures}
            for index, name in enumerate(scores.names)
        },
    }


def _figures(scores: Scores) -> dict[str, float | None]:
    return {measure.name: _number(scores.of(measure)) for measure in scores.protocol.measures}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
