"""Pictures for the eye: pixels on disk that any part is read from, proxies of screen size, tiles at 1:1 and coarser."""

import io
from pathlib import Path

import numpy as np
from PIL import Image as pillow

from sdsr.errors import InputError
from sdsr.photos.depths import eight_bits
from sdsr.photos.parts import whole_file
from sdsr.photos.photo import Photo
from sdsr.region import Region

PROXY_PX = 1600
"""The longer side of a proxy."""
TILE_PX = 512
MOST_LEVEL = 6
PIXELS = "pixels.npy"
PROXY = "proxy.webp"
THUMBNAIL = "thumbnail.webp"
THUMBNAIL_PX = 320
BEFORE = "before.webp"
MAP = "map.webp"
_QUALITY = 90


def view_of(photo: Photo) -> np.ndarray:
    """Return a photo as 8 bits a channel, (height, width, 3), or 4 where it is transparent."""
    pixels = eight_bits(photo.pixels)
    if not photo.transparent:
        return pixels
    assert photo.alpha is not None, "it is transparent"
    return np.dstack((pixels, eight_bits(photo.alpha)))


def keep_pixels(pixels: np.ndarray, folder: Path) -> None:
    """Write the pixels whole or not at all."""
    with whole_file(folder / PIXELS) as part, part.open("xb") as file:
        np.save(file, pixels, allow_pickle=False)


def kept_pixels(folder: Path) -> np.ndarray:
    """Return pixels that are read from disk where they are looked at."""
    return np.load(folder / PIXELS, mmap_mode="r", allow_pickle=False)


def proxy_size(width: int, height: int, most: int = PROXY_PX) -> tuple[int, int]:
    """Return the (width, height) of a picture that fits into a square; it is never larger than it was."""
    share = min(1.0, most / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))


def write_proxy(pixels: np.ndarray, path: Path, size: tuple[int, int], *, lossless: bool = False) -> None:
    """Write pixels as WebP of a size (width, height)."""
    picture = pillow.fromarray(np.ascontiguousarray(pixels))
    if picture.size != size:
        picture = picture.resize(size, pillow.Resampling.BICUBIC, reducing_gap=3.0)
    with whole_file(path) as part:
        picture.save(part, "WEBP", quality=_QUALITY, lossless=lossless, method=2)


def tile(pixels: np.ndarray, level: int, column: int, row: int) -> bytes:
    """Return a tile of a picture reduced 2 ** level times, as PNG; raise InputError where there is none."""
    step = TILE_PX << level
    left = column * step
    top = row * step
    _check_within(f"{level}/{column}/{row}", (left, top), (pixels.shape[1], pixels.shape[0]))
    part = np.ascontiguousarray(pixels[top : top + step, left : left + step])
    picture = pillow.fromarray(part)
    return _png(picture.reduce(1 << level) if level else picture)


def enlarged_tile(
    pixels: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int], column: int, row: int
) -> bytes:
    """Return a tile of a part of a photo (left, top, right, bottom) enlarged to `size` (width, height), as PNG.

    It is bicubic, as the photo is before it is restored. Raises InputError where there is no such tile.
    """
    width, height = size
    left = column * TILE_PX
    top = row * TILE_PX
    _check_within(f"{column}/{row}", (left, top), size)
    right = min(left + TILE_PX, width)
    bottom = min(top + TILE_PX, height)
    wide = (box[2] - box[0]) / width
    high = (box[3] - box[1]) / height
    part = box[0] + left * wide, box[1] + top * high, box[0] + right * wide, box[1] + bottom * high
    return _png(enlarged(pixels, part, (right - left, bottom - top)))


def photo_box(
    region: Region | None, photo: tuple[int, int], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the part of a photo (height, width) that a region of its whole result's `size` was made of.

    (left, top, right, bottom), in the photo's pixels.
    """
    height, width = photo
    if region is None:
        return 0.0, 0.0, float(width), float(height)
    high = height / size[0]
    wide = width / size[1]
    return region.left * wide, region.top * high, region.right * wide, region.bottom * high


def enlarged(pixels: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int]) -> pillow.Image:
    """Return a part of a picture at a size (width, height), reading no more of it than is looked at."""
    reach = 4
    first = max(0, int(box[0]) - reach), max(0, int(box[1]) - reach)
    last = min(pixels.shape[1], int(box[2]) + 1 + reach), min(pixels.shape[0], int(box[3]) + 1 + reach)
    near = pillow.fromarray(np.ascontiguousarray(pixels[first[1] : last[1], first[0] : last[0]]))
    inner = (
        max(0.0, box[0] - first[0]),
        max(0.0, box[1] - first[1]),
        min(float(near.width), box[2] - first[0]),
        min(float(near.height), box[3] - first[1]),
    )
    return near.resize(size, pillow.Resampling.BICUBIC, box=inner, reducing_gap=3.0)


def _check_within(place: str, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """Raise InputError for a tile whose corner (left, top) is beyond the picture's size (width, height)."""
    if not (0 <= corner[0] < size[0] and 0 <= corner[1] < size[1]):
        raise InputError(f"tile (={place}) must be within {size[0]} x {size[1]} px; see size.")


def _png(picture: pillow.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG", compress_level=1)
    return data.getvalue()
