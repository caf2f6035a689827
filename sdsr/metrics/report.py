"""Scores as text: a markdown table of means, CSV by photo, JSON with intervals; each names its protocol."""

import csv
import io
import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

from sdsr.metrics.benchmark import Scores
from sdsr.metrics.protocol import Measure

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
    protocol, table = first.protocol, aligned(lines)
    return f"Protocol {protocol.name}: {protocol.description}; in brackets 95 % intervals.\n\n{table}\n\n{WARNING}\n"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A markdown table of these cells, the first line being its head, its columns of equal width."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    head, *body = lines
    return "\n".join(
        "| " + " | ".join(map(str.ljust, line, widths)) + " |"
        for line in (head, ["-" * width for width in widths], *body)
    )


def _all_measures(rows: Mapping[str, Scores]) -> tuple[Measure, ...]:
    return tuple({measure.name: measure for scores in rows.values() for measure in scores.protocol.measures}.values())


def _cell(scores: Scores, measure: Measure) -> str:
    if measure.name not in scores.values:
        return "-"
    figure, (low, high) = scores.of(measure), scores.interval(measure)
    if not math.isfinite(figure):
        return "-"
    text = f"{figure:.{measure.decimals}f}"
    return text if math.isnan(low) else f"{text} ({low:.{measure.decimals}f} to {high:.{measure.decimals}f})"


def _rank(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def table_csv(rows: Mapping[str, Scores]) -> str:
    """A line for each photo of each set of results under the measures' names; the protocol in the last column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = _all_measures(rows)
    writer.writerow(["results", "photo", *(measure.name for measure in measures), "protocol"])
    for label, scores in rows.items():
        for index, name in enumerate(scores.names):
            figures = [scores.photo(measure, index) for measure in measures]
            writer.writerow([label, name, *(f"{figure:.6f}" for figure in figures), scores.protocol.name])
    return text.getvalue()


def table_json(
    rows: Mapping[str, Scores],
    anchors: Mapping[str, Scores] = MappingProxyType({}),
    ranks: Mapping[str, float] = MappingProxyType({}),
) -> str:
    """The figures under the measures' names beside protocol, n, intervals and versions; null where undefined.

    Those of one set of results stand at the top; those of several under `results`, with their mean ranks.
    """
    content: dict[str, Any] = {label: _content(scores) for label, scores in rows.items()}
    if len(rows) == 1:
        (content,) = content.values()
    else:
        content = {"results": content, "mean_ranks": {label: _number(rank) for label, rank in ranks.items()}}
    content["anchors"] = {label: _figures(row) for label, row in anchors.items()}
    content["versions"] = {
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
    }
    return json.dumps(content, indent=2)


def _content(scores: Scores) -> dict[str, Any]:
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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
