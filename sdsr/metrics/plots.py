"""Plots as PNG files; matplotlib, which is optional, is imported where one is drawn."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image as PillowImage

from sdsr.errors import ModelError
from sdsr.metrics.save import save_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKED = 12
"""Curves of fewer points than this have each of them marked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A curve at time `t`: a mean, and the standard deviation around it."""

    t: int
    mean: float
    deviation: float


def check_plots() -> None:
    """Raise ModelError, before anything is computed, where nothing can be plotted."""
    if find_spec("matplotlib") is None:
        raise ModelError("the plot needs matplotlib (=not installed); run `pip install matplotlib`.")


def plot_lines(lines: Mapping[str, Mapping[float, float]], target: Path, *, x: str, y: str) -> None:
    """Draw a line through the points of each name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        axes.plot(list(points), list(points.values()), marker=".", label=name)
    axes.set(xlabel=x, ylabel=y)
    axes.legend()
    save_figure(figure, target)


def plot_curves(panels: Mapping[str, Mapping[str, Sequence[Point]]], target: Path) -> None:
    """Draw a panel for each quantity with a curve for each name, time running from noise to photo.

    Bands are one deviation to each side.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    for axes, (quantity, by_name) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for name, points in by_name.items():
            _draw_band(axes, name, points)
        axes.set(xlabel="t", ylabel=quantity)
        axes.invert_xaxis()
    figure.axes[0].legend()
    save_figure(figure, target)


def save_figure(figure: "Figure", target: Path) -> None:
    """Write a figure at 150 dots per inch in the format of the file's suffix."""
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=150)
    with PillowImage.open(memory) as picture:
        save_image(picture, target)


def _draw_band(axes: "Axes", name: str, points: Sequence[Point]) -> None:
    times = [point.t for point in points]
    low = [point.mean - point.deviation for point in points]
    high = [point.mean + point.deviation for point in points]
    marker = "." if len(points) < _MARKED else None
    (line,) = axes.plot(times, [point.mean for point in points], marker=marker, label=name)
    axes.fill_between(times, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
