"""Photos in, photos out: read any of the formats, upright in sRGB; write as it came, whole or not at all."""

import errno
import io
import os
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np

from sdsr.errors import InputError, OutputError, SdsrError
from sdsr.photos.codecs import writer_of
from sdsr.photos.credentials import Seal, sign
from sdsr.photos.formats import SUFFIXES, Format
from sdsr.photos.hostile import first_line, refused
from sdsr.photos.layout import Layout, lay_out
from sdsr.photos.limits import DEFAULT_LIMITS, NO_LIMITS, Limits
from sdsr.photos.parts import new_part
from sdsr.photos.photo import Photo, Traits
from sdsr.photos.probe import (
    Header,
    Source,
    check_output,
    format_of,
    open_source,
    probe,
    source_name,
)
from sdsr.photos.reading import read_opened
from sdsr.photos.remarks import Remarks, about

__all__ = [
    "SUFFIXES",
    "Format",
    "Header",
    "Limits",
    "Photo",
    "Source",
    "Traits",
    "check_output",
    "encode_photo",
    "format_of",
    "probe",
    "read_photo",
    "write_photo",
]

remarks = Remarks(__name__)

# What encoders and file systems fail with.
_FAILURES = (MemoryError, OSError, OverflowError, RuntimeError, ValueError, struct.error)
_REMEDIES: dict[int | None, str] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space or write elsewhere"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a folder you may write to"),
    errno.EISDIR: "choose another name: a folder has this one",
}
_VISIBLE = 1 / 16  # standard deviation of a picture that can't have become flat by compression alone


def read_photo(source: Source, limits: Limits = DEFAULT_LIMITS) -> Photo:
    """Read a photo: upright, in sRGB, 8 or 16 bits as in the file, with the traits for a file written from it.

    Colors under full transparency are continued from their surroundings. Raises InputError, LimitError.
    """
    return read_opened(open_source(source, limits), source_name(source))


def encode_photo(photo: Photo, format: Format, quality: int | None = None, *, seal: Seal | None = None) -> bytes:
    """Return a verified file as bytes; see `write_photo`."""
    layout = _checked(photo, format, quality, seal)
    buffer = io.BytesIO()
    try:
        encode(buffer, layout)
    except _FAILURES as error:
        raise OutputError(f"the {format} could not be made ({first_line(error)}); try another format.") from error
    if seal is not None:
        signed = io.BytesIO()
        buffer.seek(0)
        sign(buffer, signed, format, seal)
        buffer = signed
    data = buffer.getvalue()
    _verify(data, layout)
    return data


def write_photo(
    photo: Photo,
    target: Path,
    *,
    format: Format | None = None,
    quality: int | None = None,
    overwrite: bool = False,
    seal: Seal | None = None,
) -> None:
    """Write a photo with its traits; the format comes from the suffix unless given, quality counts where it is lossy.

    The file appears under its name only when it is complete, on the disk, and was read back; nothing else is left.
    Without a quality it is 95, or lossless where the photo came so. JPEG keeps full color resolution (4:4:4).
    16 bits go into PNG, TIFF and JPEG XL, 12 of them into AVIF, and are rounded for the others. With a `seal` the file
    has signed Content Credentials.
    Raises OutputError; InputError where the format can't hold the photo.
    """
    with about(target.name):
        layout = _checked(photo, format or format_of(target), quality, seal)
        if not os.path.isdir(target.parent):
            folder = target.parent
            raise OutputError(f"{target.name} can't be written: its folder (={folder}) is missing; create it first.")
        if os.path.exists(target) and not overwrite:  # which says no where Path.exists fails: of a name too long
            raise _exists(target)
        _write(layout, target, overwrite=overwrite, seal=seal)


def _write(layout: Layout, target: Path, *, overwrite: bool, seal: Seal | None) -> None:
    """Write, sign and read back a laid-out photo, and give it its name."""
    part = new_part(target)
    try:
        with part.open("xb") as file:
            encode(file, layout)
            file.flush()
            os.fsync(file.fileno())
        if seal is not None:
            _sign(part, target, layout.format, seal)
        _verify(part, layout)
        _publish(part, target, overwrite=overwrite)
    except SdsrError:
        raise
    except _FAILURES as error:
        raise OutputError(f"{target.name} could not be written ({first_line(error)}); {_remedy(error)}.") from error
    finally:
        with suppress(OSError):
            part.unlink()


def encode(file: io.BufferedIOBase, layout: Layout) -> None:
    """Write a laid-out photo to a binary file that can seek."""
    writer_of(layout.format)(file, layout)


def _sign(part: Path, target: Path, format: Format, seal: Seal) -> None:
    """Put a signed file in the place of an unsigned one."""
    signed = new_part(target)
    try:
        with part.open("rb") as unsigned, signed.open("x+b") as file:
            sign(unsigned, file, format, seal)
            file.flush()
            os.fsync(file.fileno())
        signed.replace(part)
    finally:
        with suppress(OSError):
            signed.unlink()


def _checked(photo: Photo, format: Format, quality: int | None, seal: Seal | None) -> Layout:
    height, width = photo.size
    traits = photo.traits
    bits = 8 * photo.pixels.dtype.itemsize
    alpha = photo.alpha is not None
    header = Header(
        format=format,
        width=width,
        height=height,
        bits=bits,
        gray=traits.gray,
        alpha=alpha,
        cmyk=traits.space == "CMYK",
    )
    check_output(header, photo.size, format, NO_LIMITS)
    if traits.credentials and seal is None:
        remarks.warning("the photo's Content Credentials (C2PA) hold for its own pixels; what is written is without.")
    return lay_out(photo, format, quality)


def _verify(source: Source, layout: Layout) -> None:
    """Read back what was written. Raises OutputError unless it is the picture that was meant."""
    try:
        opened = open_source(source, NO_LIMITS)
        with refused(source_name(source)):
            samples = opened.decode()
    except InputError as error:
        raise OutputError(f"the {layout.format} can't be read back ({error}); the disk may be failing.") from error
    height, width, channels = layout.shape
    if not layout.photo.transparent:  # whose alpha some encoders drop
        channels = min(channels, samples.shape[2])
    same_header = (opened.format, opened.bits, opened.space) == (layout.format, layout.bits, layout.space)
    if not same_header or samples.shape != (height, width, channels):
        raise OutputError(f"the {layout.format} reads back as {samples.shape}, not {layout.shape}; try another format.")
    if layout.lossless:
        strips = ((top, strip[..., :channels]) for top, strip in layout.stored_strips())
        same = all(np.array_equal(samples[top : top + len(strip)], strip) for top, strip in strips)
    else:
        same = _contrast(samples) > 0 or _contrast(layout.photo.pixels) < _VISIBLE
    if not same:
        raise OutputError(f"the {layout.format} reads back as another picture; try PNG, or check disk and memory.")


def _contrast(samples: np.ndarray) -> float:
    """Return the largest standard deviation of a channel, as a share of full range, on a sparse grid."""
    step = 1 + max(samples.shape[:2]) // 1024
    return float(samples[::step, ::step].std(axis=(0, 1)).max()) / np.iinfo(samples.dtype).max


def _publish(part: Path, target: Path, *, overwrite: bool) -> None:
    """Give the finished file its name, and never take it from another that came first."""
    try:
        if not overwrite:
            os.link(part, target)
    except FileExistsError as error:
        raise _exists(target) from error
    except OSError as error:  # a file system without hard links
        remarks.debug("no hard link: %s", error)
        if target.exists():
            raise _exists(target) from error
        part.replace(target)
    if overwrite:
        part.replace(target)
    with suppress(OSError):  # not every system can flush a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _exists(target: Path) -> OutputError:
    return OutputError(f"{target.name} exists already; choose another name, or allow it (overwrite=True).")


def _remedy(error: BaseException) -> str:
    return _REMEDIES.get(getattr(error, "errno", None), "check free space and memory, or try another format")
