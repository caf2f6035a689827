"""Bytes from anywhere: whatever a decoder raises at them becomes one typed error of one line."""

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from sdsr.errors import InputError, LimitError, SdsrError

# What Pillow, tifffile, imagecodecs and zlib were seen to raise, and the rest that parsing hostile bytes can lead to.
HOSTILE: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    UserWarning,
    ValueError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    struct.error,
    zlib.error,
)

_REMARKS = threading.RLock()  # the filters of warnings belong to the whole process


@contextmanager
def refused(name: str) -> Iterator[None]:
    """Turn any failure of a decoder into InputError (LimitError where memory ran out), naming the file."""
    try:
        yield
    except SdsrError:
        raise
    except MemoryError as error:
        raise LimitError(f"{name} needs more memory than there is; free some, or crop or shrink the photo.") from error
    except HOSTILE as error:
        raise InputError(f"{name} is damaged or cut short ({first_line(error)}); export the photo again.") from error


@contextmanager
def without_remarks() -> Iterator[None]:
    """Silence what Pillow warns of odd tags, which are read as far as they make sense; one thread at a time."""
    with _REMARKS, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__
