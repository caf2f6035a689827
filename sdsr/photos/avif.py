"""AVIF in and out at 8, 10 and 12 bits. Source: AV1 Image File Format 1.1; AV1 bitstream specification, 5.5.

libavif codes the picture alone; this module reads and writes the items around it, which hold the metadata.
"""

import struct
from io import BufferedIOBase

import imagecodecs
import numpy as np

from sdsr.errors import InputError
from sdsr.photos.av1 import sequence_size
from sdsr.photos.boxes import boxes
from sdsr.photos.companions import GAIN_MAP
from sdsr.photos.depths import narrowed, stretched
from sdsr.photos.formats import Space
from sdsr.photos.heif import Item, Items, read_items, write_items
from sdsr.photos.heif_photo import IDENTITY, XMP_TYPE, alphas, color, metadata, orientation, required
from sdsr.photos.layout import Layout
from sdsr.photos.metadata import upright_metadata
from sdsr.photos.opened import Opened

_BRANDS = b"avif\0\0\0\0avifmif1miaf"
_BT709_PRIMARIES = 1
_SRGB_TRANSFER = 13
_UNSPECIFIED = 2
_BT601 = 6  # matrices
_SPEED = 6  # of 10: 4 takes five times the time for 4 %, 8 half of it for 20 % more
_LOSSLESS_LEVEL = 100


def open_avif(data: bytes) -> Opened:
    """Open an AVIF with one photo. Raises InputError for animations, HDR, and what isn't coded in AV1."""
    if data[8:12] == b"avis":
        frames = _frames(data)
        if frames > 1:
            raise InputError(f"the AVIF is an animation (={frames} frames), limit 1; save one frame as a photo.")
        data = data[:8] + b"avif" + data[12:]  # so that libavif too takes the photo, not the track of a frame
    items = read_items(data)
    photo = items.items[items.primary]
    tile = _tile(items)
    width, height = struct.unpack_from(">II", required(photo, b"ispe"), 4)
    if photo.kind == b"av01" and sequence_size(items.payload(items.primary)) != (width, height):
        raise ValueError(f"it announces {width}x{height}, and codes {sequence_size(items.payload(items.primary))}")
    bits, gray = _depth(tile)
    space: Space = "GRAY" if gray else "RGB"
    alpha = bool(alphas(items))
    exif, xmp = metadata(items)
    icc, described, lossless = color(photo, space)
    _, exif, xmp = upright_metadata(exif, xmp)  # the properties alone say how it is turned
    return Opened(
        format="AVIF",
        width=width,
        height=height,
        bits=bits,
        space=space,
        alpha=alpha,
        icc=icc,
        exif=exif,
        xmp=xmp,
        dpi=None,
        orientation=orientation(photo),
        described=described,
        lossless=lossless,
        lost=(GAIN_MAP,) if any(item.kind == b"tmap" for item in items.items.values()) else (),
        decode=lambda: _decode(data, bits),
    )


def _frames(data: bytes, start: int = 0, end: int | None = None) -> int:
    """Return how many frames the longest track of a sequence has (ISO/IEC 14496-12, 8.7.3); 0 without a track."""
    most = 0
    for kind, body, stop in boxes(data, start, end):
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            most = max(most, _frames(data, body, stop))
        elif kind in (b"stsz", b"stz2"):
            most = max(most, struct.unpack_from(">I", data, body + 8)[0])
    return most


def _tile(items: Items) -> Item:
    """Return the item that says how the photo is coded: itself, or the first of a grid."""
    photo = items.items[items.primary]
    tile = items.items[photo.references[b"dimg"][0]] if photo.kind == b"grid" else photo
    if tile.kind != b"av01":
        raise InputError(f"the AVIF is coded as {tile.kind!r}, limit AV1; save it as PNG or AVIF.")
    if photo.property(b"clap") is not None:
        raise InputError("the AVIF is cropped by its container (=clap), limit none; save it as PNG or AVIF.")
    return tile


def _depth(tile: Item) -> tuple[int, bool]:
    """Return the bits a channel, and whether there is no color."""
    flags = required(tile, b"av1C")[2]
    high = flags & 64
    twelve = flags & 32
    gray = bool(flags & 16)
    return (12 if twelve else 10) if high else 8, gray


def _decode(data: bytes, bits: int) -> np.ndarray:
    return stretched(np.atleast_3d(imagecodecs.avif_decode(data)), bits)


def write_avif(file: BufferedIOBase, layout: Layout) -> None:
    """Write an AVIF with color at full resolution (4:4:4). Holds the coded file, and a copy of the samples."""
    coded = read_items(_encode(layout))
    photo = coded.items[coded.primary]
    if layout.icc:
        photo.properties.insert(1, (b"colr", b"prof" + layout.icc))
    items = [(photo, coded.payload(coded.primary))]
    for number in alphas(coded):
        alpha = coded.items[number]
        alpha.references = {b"auxl": (1,)}
        items.append((alpha, coded.payload(number)))
    if layout.exif:
        items.append((Item(kind=b"Exif", references={b"cdsc": (1,)}), bytes(4) + layout.exif))
    if xmp := layout.photo.traits.xmp:
        items.append((Item(kind=b"mime", content_type=XMP_TYPE, references={b"cdsc": (1,)}), xmp))
    file.write(write_items(_BRANDS, items))


def _encode(layout: Layout) -> bytes:
    samples = narrowed(layout.whole(), layout.bits)
    return bytes(
        imagecodecs.avif_encode(
            samples[..., 0] if samples.shape[2] == 1 else samples,
            _LOSSLESS_LEVEL if layout.lossless else min(layout.quality, _LOSSLESS_LEVEL - 1),
            speed=_SPEED,
            bitspersample=layout.bits,
            pixelformat="444" if layout.space == "RGB" else "400",
            matrix=IDENTITY if layout.lossless and layout.space == "RGB" else _BT601,
            primaries=_UNSPECIFIED if layout.icc else _BT709_PRIMARIES,
            transfer=_UNSPECIFIED if layout.icc else _SRGB_TRANSFER,
        )
    )
