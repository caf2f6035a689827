"""The last step to pixels: decode a latent tile by tile, and give each tile the colors of the photo."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import DTypeLike

from sdsr.images.color import VARIANCE_FLOOR, WAVELET_HALO_PX, Moments, apply_moments, moments, wavelet, ycbcr
from sdsr.images.floats import quantize
from sdsr.request import ColorFix
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.restorer import Restoring
from sdsr.restoration.sample import Sampled
from sdsr.tensors import Image, Region

TILE_PX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A finished part of the result: its place, and its pixels in about [0, 1]."""

    region: Region
    image: Image


@torch.inference_mode()
def finished_tiles(
    restorer: Restoring,
    photograph: Photograph,
    sampled: Sampled,
    color_fix: ColorFix,
    *,
    adain_floor: float = VARIANCE_FLOOR,
    tile_px: int = TILE_PX,
) -> Iterator[Tile]:
    """Yield the result in tiles that don't overlap; together they are the whole picture decoded and corrected at once.

    The wavelet fix looks at a halo around each tile; AdaIN decodes everything twice, the first time to measure,
    and adds `adain_floor` to each variance.
    """
    tiles = _grid(photograph.size, tile_px)
    exchanged = _moments(restorer, photograph, sampled, tiles) if color_fix == "adain" else None
    for tile in tiles:
        wide = tile.expand(WAVELET_HALO_PX if color_fix == "wavelet" else 0, within=photograph.size)
        content, style = _pixels(restorer, photograph, sampled, wide), photograph.part(wide).enlarged()
        fixed = _fixed(content, style.to(content), color_fix, exchanged, adain_floor)
        yield Tile(region=tile, image=fixed[tile.relative_to(wide).slices])


def finished(
    restorer: Restoring,
    photograph: Photograph,
    sampled: Sampled,
    *,
    color_fix: ColorFix,
    adain_floor: float = VARIANCE_FLOOR,
    dtype: DTypeLike,
) -> np.ndarray:
    """Return the whole result, (rows, columns, 3), quantized to an unsigned integer type."""
    pixels = np.empty((*photograph.size, 3), dtype)
    for tile in finished_tiles(restorer, photograph, sampled, color_fix, adain_floor=adain_floor):
        pixels[tile.region.rows, tile.region.columns] = quantize(tile.image, pixels.dtype)
    return pixels


def _fixed(
    content: Image,
    style: Image,
    color_fix: ColorFix,
    exchanged: tuple[Moments, Moments] | None,
    adain_floor: float,
) -> Image:
    match color_fix:
        case "wavelet":
            return wavelet(content, style)
        case "ycbcr":
            return ycbcr(content, style)
        case "adain":
            assert exchanged is not None, "AdaIN needs the moments of the whole picture"
            return apply_moments(content, *exchanged, adain_floor)
        case "none":
            return content


def _moments(
    restorer: Restoring, photograph: Photograph, sampled: Sampled, tiles: list[Region]
) -> tuple[Moments, Moments]:
    of_content, of_style = [], []
    for region in tiles:
        of_content.append(moments(_pixels(restorer, photograph, sampled, region)))
        of_style.append(moments(photograph.part(region).enlarged()))
    return sum(of_content[1:], of_content[0]), sum(of_style[1:], of_style[0])


def _pixels(restorer: Restoring, photograph: Photograph, sampled: Sampled, region: Region) -> Image:
    """Decode the cells that hold a region, and cut it out."""
    factor = restorer.factor
    top, left = region.top // factor * factor, region.left // factor * factor
    height, width = (-(-side // factor) * factor for side in (region.bottom - top, region.right - left))
    cells = Region(top=top, left=left, height=height, width=width)
    return restorer.decode(sampled.clean, sampled.seen, cells, sampled.fidelity)[region.relative_to(cells).slices]


def _grid(size: tuple[int, int], tile_px: int) -> list[Region]:
    """Return the tiles of a picture, row by row; the last ones of a row or column are as small as what is left."""
    height, width = size
    return [
        Region(top=top, left=left, height=min(tile_px, height - top), width=min(tile_px, width - left))
        for top in range(0, height, tile_px)
        for left in range(0, width, tile_px)
    ]
