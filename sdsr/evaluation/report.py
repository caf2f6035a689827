"""Scores as text: a markdown table of means, CSV by photo, JSON with intervals; each names its protocol."""

import csv
import io
import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

from sdsr.evaluation.benchmark import Scores
from sdsr.evaluation.protocol import Measure

WARNING = (
    "No single figure is quality: on RealSR, bicubic with an unsharp mask and film grain has PSNR-Y 27.08, "
    "SSIM-Y 0.741, NIQE 6.41, and restores nothing. Read hf_busy, hf_flat and grid too (1 is ideal); look at photos."
)
_SIGNS = {"higher": "↑", "lower": "↓", "near 1": "≈ 1"}
_PACKAGES = ("sdsr", "numpy", "pillow", "torch")


def markdown(rows: Mapping[str, Scores]) -> str:
    """One line for each set of results, its figures with 95 % intervals; all under one protocol."""
    first = next(iter(rows.values()))
    assert all(scores.protocol.name == first.protocol.name for scores in rows.values()), "one table, one protocol"
    measures = _all_measures(rows)
    lines = [
        ["results", "n", *(f"{measure.name} {_SIGNS[measure.better]}" for measure in measures)],
        *(
            [label, str(len(scores.names)), *(_cell(scores, measure) for measure in measures)]
            for label, scores in rows.items()
        ),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    table = "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
    protocol = first.protocol
    return f"Protocol {protocol.name}: {protocol.description}; in brackets 95 % intervals.\n\n{table}\n\n{WARNING}\n"


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


def table_csv(scores: Scores) -> str:
    """A line for each photo under the measures' names; the protocol stands in the last column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = scores.protocol.measures
    writer.writerow(["photo", *(measure.name for measure in measures), "protocol"])
    for index, name in enumerate(scores.names):
        writer.writerow([name, *(f"{scores.photo(measure, index):.6f}" for measure in measures), scores.protocol.name])
    return text.getvalue()


def table_json(scores: Scores, anchors: Mapping[str, Scores] = MappingProxyType({})) -> str:
    """The figures under the measures' names beside protocol, n, intervals and versions; null where undefined."""
    measures = scores.protocol.measures
    content = {
        "protocol": scores.protocol.name,
        "description": scores.protocol.description,
        "n": len(scores.names),
        **_figures(scores),
        "intervals": {measure.name: [_number(end) for end in scores.interval(measure)] for measure in measures},
        "photos": {
            name: {measure.name: _number(scores.photo(measure, index)) for measure in measures}
            for index, name in enumerate(scores.names)
        },
        "anchors": {label: _figures(row) for label, row in anchors.items()},
        "versions": {"python": platform.python_version(), **{package: _version(package) for package in _PACKAGES}},
    }
    return json.dumps(content, indent=2)


def _figures(scores: Scores) -> dict[str, float | None]:
    return {measure.name: _number(scores.of(measure)) for measure in scores.protocol.measures}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
