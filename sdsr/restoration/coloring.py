"""The last step to pixels: decode a latent tile by tile, and give each tile the colors of the photo."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sdsr.array_api import inference, like, zeros
from sdsr.images.color import VARIANCE_FLOOR, WAVELET_HALO_PX, Moments, apply_moments, moments, wavelet, ycbcr
from sdsr.images.floats import plane, quantize
from sdsr.images.resize import resample
from sdsr.photos.photo import Photo
from sdsr.request import ColorFix
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.protocol import Restoring
from sdsr.restoration.sample import Sampled
from sdsr.restoration.tiles import TILE_PX, OnNote, in_smaller_tiles
from sdsr.tensors import Float, Image, Region, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A finished part of the result: its place, and its pixels in about [0, 1]."""

    region: Region
    image: Image


@inference
def finished_tiles(
    restorer: Restoring,
    lq_image: LqImage,
    sampled: Sampled,
    color_fix: ColorFix,
    *,
    adain_floor: float = VARIANCE_FLOOR,
    on_note: OnNote | None = None,
) -> Iterator[Tile]:
    """Yield the result in tiles that don't overlap; together they are the whole picture decoded and corrected at once.

    They are the restorer's. Where memory runs out they come again from the first, half as wide, and `on_note` is told
    so; raises LimitError where they can't be smaller.

    The wavelet fix looks at a halo around each tile; AdaIN decodes everything twice, the first time to measure,
    and adds `adain_floor` to each variance. A result that was made at another size, which is small, is put together
    and shrunk.
    """

    def made(restorer: Restoring) -> Iterator[Tile]:
        return _made_tiles(restorer, lq_image, sampled, color_fix, adain_floor, min(TILE_PX, restorer.tile_px))

    tiles = in_smaller_tiles(restorer, made, on_note)
    if lq_image.wanted is None:
        yield from tiles
        return
    whole = shrunk(lq_image, _assembled(lq_image, tiles))
    for region in Region.grid(lq_image.final_size, TILE_PX, TILE_PX):
        yield Tile(region=region, image=whole[region.slices])


@inference
def estimated(restorer: Restoring, lq_image: LqImage, sampled: Sampled) -> Tile:
    """Return what can be shown of a step: the middle of the result, or all of it where it is shrunk in the end.

    Colors are as they were decoded, clamped to [0, 1].
    """
    made = lq_image.made
    if lq_image.wanted is None:
        region = _middle(made.size, restorer.factor)
        return Tile(region=region, image=decoded(restorer, lq_image, sampled, region).clip(0, 1))
    whole = decoded(restorer, lq_image, sampled, Region.whole(*made.size))
    return Tile(region=Region.whole(*lq_image.wanted), image=shrunk(lq_image, whole).clip(0, 1))


def shrunk(lq_image: LqImage, image: Image) -> Float[Tensor, "b 3 _ _"]:
    """Return a result at the size that was wanted of it."""
    if lq_image.wanted is None:
        return image
    return resample(image.clip(0, 1), lq_image.wanted, kernel=lq_image.shrink)


def _assembled(lq_image: LqImage, tiles: Iterator[Tile]) -> Image:
    whole = None
    for tile in tiles:
        if whole is None:
            whole = zeros((*tile.image.shape[:2], *lq_image.made.size), tile.image)
        whole[tile.region.slices] = tile.image
    assert whole is not None, "a picture has tiles"
    return whole


def _made_tiles(
    restorer: Restoring,
    lq_image: LqImage,
    sampled: Sampled,
    color_fix: ColorFix,
    adain_floor: float,
    tile_px: int,
) -> Iterator[Tile]:
    """Yield the result at the size at which it was made; places of tiles are relative to it."""
    size = lq_image.made.size
    tiles = list(Region.grid(size, tile_px, tile_px))
    exchanged = _moments(restorer, lq_image, sampled, tiles) if color_fix == "adain" else None
    for tile in tiles:
        wide = tile.expand(WAVELET_HALO_PX if color_fix == "wavelet" else 0, within=size)
        image = decoded(restorer, lq_image, sampled, wide)
        if color_fix != "none":
            image = _fixed(image, like(_style(lq_image, wide), image), color_fix, exchanged, adain_floor)
        yield Tile(region=tile, image=image[tile.relative_to(wide).slices])


def enlarged_alpha(photo: Photo, size: tuple[int, int]) -> np.ndarray:
    """Return the alpha at the new size, in strips."""
    given = plane(photo)
    alpha = np.empty(size, photo.pixels.dtype)
    for strip in Region.grid(size, TILE_PX, size[1]):
        alpha[strip.rows] = quantize(resample(given, size, strip), alpha.dtype)
    return alpha


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


def _moments(restorer: Restoring, lq_image: LqImage, sampled: Sampled, tiles: list[Region]) -> tuple[Moments, Moments]:
    of_content = []
    of_style = []
    for region in tiles:
        of_content.append(moments(decoded(restorer, lq_image, sampled, region)))
        of_style.append(moments(_style(lq_image, region)))
    return sum(of_content[1:], of_content[0]), sum(of_style[1:], of_style[0])


def _on_canvas(lq_image: LqImage, region: Region) -> Region:
    """Return the place of a region of the result, counted as the canvas's are."""
    made = lq_image.made
    return replace(region, top=region.top + made.top, left=region.left + made.left)


def _style(lq_image: LqImage, region: Region) -> Image:
    """Return the pixels of the photo in a region of the result."""
    return lq_image.placed(_on_canvas(lq_image, region)).enlarged()


def decoded(restorer: Restoring, lq_image: LqImage, sampled: Sampled, region: Region) -> Image:
    """Decode the cells that hold a region of the result, and cut it out."""
    factor = restorer.factor
    place = _on_canvas(lq_image, region).relative_to(lq_image.region)
    top = place.top // factor * factor
    left = place.left // factor * factor
    height, width = (-(-side // factor) * factor for side in (place.bottom - top, place.right - left))
    cells = Region(top=top, left=left, height=height, width=width)
    return restorer.decode(sampled.clean, lq_image, cells, sampled.fidelity)[place.relative_to(cells).slices]


def _middle(size: tuple[int, int], factor: int) -> Region:
    """Return the middle of a picture, at most a tile of it, on the autoencoder's cells."""
    height, width = (min(side, TILE_PX) // factor * factor or min(side, factor) for side in size)
    top, left = ((side - part) // 2 // factor * factor for side, part in zip(size, (height, width), strict=True))
    return Region(top=max(0, top), left=max(0, left), height=height, width=width)
