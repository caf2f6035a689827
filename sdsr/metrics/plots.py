"""Plain line plots as PNG files; matplotlib is imported where one is drawn."""

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image as PillowImage

from sdsr.metrics.save import save_image


def plot_lines(lines: Mapping[str, Mapping[float, float]], target: Path, *, x: str, y: str) -> None:
    """Draw a line through the points of each name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        axes.plot(list(points), list(points.values()), marker=".", label=name)
    axes.set(xlabel=x, ylabel=y)
    axes.legend()
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=150)
    with PillowImage.open(memory) as picture:
        save_image(picture, target)
