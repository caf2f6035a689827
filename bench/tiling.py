"""How much windows change a picture: restored in one window and in many, and the seam measure of the difference.

python bench/tiling.py PHOTO [--size 1000 700] [--window 320] [--model NAME] [--output difference.png]

The photo's middle is shrunk to a quarter of the size, restored both ways, and compared. "seam" is the mean gradient of
the difference across window borders over that elsewhere: 1 is no seam.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image as pillow
from PIL import ImageOps

from sdsr.diffusion.noise import CanvasNoise
from sdsr.images.windows import cover
from sdsr.restoration.coloring import finished_tiles
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.sample import sample
from sdsr.restoration.windowed import Windowed
from sdsr.upscaling import Upscaler

SCALE = 4
AMPLIFICATION = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(1000, 700), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--window", type=int, default=320)
    parser.add_argument("--model", default="d3sr-small")
    parser.add_argument("--output", type=Path, default=Path("difference.png"))
    arguments = parser.parse_args()
    width, height = arguments.size
    small = ImageOps.fit(pillow.open(arguments.photo).convert("RGB"), (width // SCALE, height // SCALE))
    given = torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)[None].float() / 255
    upscaler = Upscaler.from_pretrained(arguments.model)
    overlap = max(upscaler.multiple_px, arguments.window // 4 // upscaler.multiple_px * upscaler.multiple_px)
    whole = _restored(upscaler, given, (height, width), max(width, height) + upscaler.multiple_px, 0)
    parts = _restored(upscaler, given, (height, width), arguments.window, overlap)
    difference = (whole - parts).abs()
    borders = _borders(upscaler, (height, width), arguments.window, overlap)
    print(f"{width}x{height}, windows of {arguments.window} px, overlap {overlap} px, {arguments.model}")
    print(f"mean |difference| {255 * difference.mean():.3f} / 255, largest {255 * difference.max():.1f} / 255")
    print(f"seam {_seam(whole - parts, borders):.3f}")
    shown = (0.5 + AMPLIFICATION * (whole - parts)).clamp(0, 1)[0].permute(1, 2, 0)
    pillow.fromarray((255 * shown).round().byte().numpy()).save(arguments.output)
    print(f"difference, {AMPLIFICATION} times amplified: {arguments.output}")


def _restored(
    upscaler: Upscaler, given: torch.Tensor, size: tuple[int, int], window: int, overlap: int
) -> torch.Tensor:
    multiple = upscaler.multiple_px
    photograph = Photograph.of(given, size, multiple)
    window = min(window, max(photograph.region.height, photograph.region.width))
    restorer = Windowed(restorer=upscaler.restorer, window_px=window // multiple * multiple, overlap_px=overlap)
    sampled = sample(restorer, photograph, upscaler.plan(None), CanvasNoise(seeds=(0,)))
    picture = torch.empty(1, 3, *size)
    for tile in finished_tiles(restorer, photograph, sampled, upscaler.recipe.color_fix):
        picture[tile.region.slices] = tile.image.clamp(0, 1)
    return picture


def _borders(upscaler: Upscaler, size: tuple[int, int], window: int, overlap: int) -> set[int]:
    """Return the columns at which windows begin or end."""
    multiple = upscaler.multiple_px
    height, width = (side + -side % multiple for side in size)
    columns = {
        edge for region in cover(height, width, window=window, overlap=overlap) for edge in (region.left, region.right)
    }
    return {column for column in columns if 0 < column < size[1]}


def _seam(difference: torch.Tensor, borders: set[int]) -> float:
    gradient = difference.diff(dim=-1).abs().mean((0, 1, 2))
    at = torch.zeros_like(gradient, dtype=torch.bool)
    at[[column - 1 for column in borders]] = True
    return float(gradient[at].mean() / gradient[~at].mean())


if __name__ == "__main__":
    main()
