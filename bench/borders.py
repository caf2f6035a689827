"""How flat small methods leave flat photos, at the border and inside, with the canvas's margin and without.

python bench/borders.py [MODEL ...]

Photos of 48 x 64 px in white, mid-gray, black and a brown are enlarged by 4. Printed is the largest departure from the
color, in levels of 255, of the worst of the four: in the outer 16 px, and inside them. Half a minute on two cores.
"""

import argparse
from dataclasses import replace

import numpy as np

from sdsr.methods import METHODS
from sdsr.metrics.tables import aligned
from sdsr.photos.photo import Photo
from sdsr.request import Request
from sdsr.upscaling import Upscaler

COLORS = ((255, 255, 255), (128, 128, 128), (0, 0, 0), (140, 90, 40))
SMALL = tuple(name for name, recipe in METHODS.items() if recipe.prior == "small")
BORDER_PX = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=SMALL, metavar="MODEL")
    rows = [["", "border, without", "inside, without", "border", "inside"]]
    for name in parser.parse_args().models:
        upscaler = Upscaler.from_pretrained(name)
        bare = replace(upscaler.recipe, canvas=replace(upscaler.recipe.canvas, margin_px=0))
        found = [*departures(Upscaler(bare, upscaler.restorer)), *departures(upscaler)]
        rows.append([name, *map(str, found)])
    print(aligned(rows))


def departures(upscaler: Upscaler) -> tuple[int, int]:
    """Return the largest departures of any of the colors, at the border and inside."""
    worst = [_departures(upscaler, color) for color in COLORS]
    return max(border for border, _ in worst), max(inside for _, inside in worst)


def _departures(upscaler: Upscaler, color: tuple[int, int, int]) -> tuple[int, int]:
    flat = Photo(pixels=np.full((48, 64, 3), color, np.uint8))
    away = np.abs(upscaler.upscale(flat, Request(scale=4)).pixels.astype(int) - color).max(-1)
    inner = away[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX].copy()
    away[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = 0
    return int(away.max()), int(inner.max())


if __name__ == "__main__":
    main()
