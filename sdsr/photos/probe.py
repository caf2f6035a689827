"""Look before decoding: format from the content, size and color from the header, all of it against the limits."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from sdsr.errors import InputError, LimitError
from sdsr.photos.codecs import Opener, opener_of, opener_of_foreign
from sdsr.photos.credentials import MARK
from sdsr.photos.foreign import RAW, READ_ONLY, known_by_content, known_by_suffix, read_only
from sdsr.photos.formats import FORMATS, HEAD_BYTES, NAMES, SUFFIXES, Format, begins_like
from sdsr.photos.hostile import refused
from sdsr.photos.label import is_labeled
from sdsr.photos.limits import DEFAULT_LIMITS, Limits, how_to_read, how_to_write
from sdsr.photos.metadata import upright_metadata
from sdsr.photos.opened import Opened
from sdsr.photos.remarks import about
from sdsr.photos.sources import Source, read_source, source_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the header of a photo says; width and height are those of the upright photo.

    It is `labeled` if its XMP says that it was restored by this library.
    """

    format: Format
    width: int
    height: int
    bits: int
    gray: bool
    alpha: bool
    cmyk: bool = False
    labeled: bool = False


def probe(source: Source, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Return the header of a photo; nothing is decoded. Raises InputError, LimitError."""
    opened = open_source(source, limits)
    height = opened.height
    width = opened.width
    if upright_metadata(opened.exif, opened.xmp, opened.orientation)[0] >= 5:
        height, width = width, height
    return Header(
        format=opened.format,
        width=width,
        height=height,
        bits=opened.bits,
        gray=opened.space == "GRAY",
        alpha=opened.alpha,
        cmyk=opened.space == "CMYK",
        labeled=is_labeled(opened.xmp),
    )


def check_output(header: Header, size: tuple[int, int], format: Format, limits: Limits = DEFAULT_LIMITS) -> None:
    """Refuse before any work what could not be written in the end; size is the output's (height, width).

    Whether alpha hides anything is known only when it is decoded: `check_transparency`. Raises LimitError.
    """
    height, width = size
    if min(size) < 1:
        raise InputError(f"output size (={width}x{height}) must be at least 1x1; enlarge more.")
    if max(size) > FORMATS[format].max_side:
        raise LimitError(
            f"output size (={width}x{height}) exceeds what {format} holds"
            f" ({FORMATS[format].max_side} px a side); write PNG or TIFF, or enlarge less."
        )
    if height * width > FORMATS[format].max_pixels:
        raise LimitError(
            f"output size (={width}x{height}, {_megapixels(height * width)}) exceeds what {format} holds"
            f" ({_megapixels(FORMATS[format].max_pixels)}); write PNG or TIFF, or enlarge less."
        )
    if height * width > limits.max_output_pixels:
        raise LimitError(
            f"output size (={width}x{height}, {_megapixels(height * width)}) exceeds"
            f" {_megapixels(limits.max_output_pixels)}; enlarge less ({_largest_scale(header, limits):g} times fits),"
            f" or {how_to_write(height * width, limits.program)}."
        )
    samples = height * width * ((1 if header.gray else 4 if header.cmyk else 3) + header.alpha)
    if samples * (2 if header.bits > 8 else 1) > FORMATS[format].max_bytes:
        raise LimitError(
            f"output size (={width}x{height}, {_megapixels(height * width)}) may exceed what {format} holds"
            f" ({FORMATS[format].max_bytes / 1e9:.3g} GB); write PNG, or enlarge less."
        )


def _largest_scale(header: Header, limits: Limits) -> float:
    """Return the largest scale with two decimals whose result is within the limit of pixels, sides being rounded."""
    return math.floor(100 * math.sqrt(limits.max_output_pixels / (header.width * header.height)) - 0.5) / 100


def format_of(target: Path) -> Format:
    """Return the format that a file's suffix asks for. Raises InputError for another suffix."""
    foreign = known_by_suffix(target.suffix)
    if foreign is not None:
        raise InputError(
            f"{target.name} would be {foreign.name}, which isn't written; use one of {', '.join(SUFFIXES)}."
        )
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"{target.name} has no known suffix (={target.suffix!r}); use one of {', '.join(SUFFIXES)}.")
    return SUFFIXES[target.suffix.lower()]


def open_source(source: Source, limits: Limits) -> Opened:
    """Read the file and open its header within the limits."""
    data = read_source(source, limits.max_file_bytes, limits.program)
    name = source_name(source)
    if not data:
        raise InputError(f"{name} is empty (=0 bytes); copy or export the photo again.")
    opener = _opener(data, source, name)
    with refused(name), about(name):
        opened = opener(data)
    if opened.width < 1 or opened.height < 1:
        raise InputError(f"{name} has no pixels (={opened.width}x{opened.height}); export the photo again.")
    pixels = opened.width * opened.height
    if pixels > limits.max_input_pixels:
        remedy = how_to_read(pixels=pixels, program=limits.program)
        raise LimitError(
            f"{name} announces {opened.width}x{opened.height} ({_megapixels(pixels)}), limit"
            f" {_megapixels(limits.max_input_pixels)}; crop or shrink it, or {remedy}."
        )
    return replace(opened, data=data, credentials=MARK in data)


def _opener(data: bytes, source: Source, name: str) -> Opener:
    head = data[:HEAD_BYTES]
    foreign = read_only(head) if begins_like(head) is None else None
    if foreign is not None:
        return opener_of_foreign(foreign)
    return opener_of(_format(data, source, name))


def _format(data: bytes, source: Source, name: str) -> Format:
    """Return the format that the content tells. Raises InputError that names what is there instead."""
    suffix = source.suffix if isinstance(source, Path) else ""
    format = begins_like(data[:HEAD_BYTES])
    meant = known_by_suffix(suffix)
    if format is not None and not (format == "TIFF" and meant is RAW):  # raw files are TIFF files of previews
        return format
    foreign = known_by_content(data[:HEAD_BYTES])
    if foreign is not None or (format is not None and meant is not None):
        raise InputError(f"{name} is {foreign or meant}")
    if meant not in (None, *READ_ONLY):
        raise InputError(f"{name} ends like {meant}")
    raise InputError(f"{name} is no photo in a known format (starts with {data[:8]!r}); use {NAMES}.")


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:.4g} MP"
