"""Where a photo's bytes come from: a file, bytes at hand, or a pipe; never from what blocks or has no end."""

import os
import select
import stat
from pathlib import Path

from sdsr.errors import InputError, LimitError
from sdsr.photos.foreign import known_by_content
from sdsr.photos.formats import HEAD_BYTES
from sdsr.photos.limits import Program, how_to_read

Source = Path | bytes

PIPE_PATIENCE_S = 60.0
"""A pipe that gives nothing for so long is given up."""

_CHUNK_BYTES = 1 << 20
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def source_name(source: Source) -> str:
    return source.name if isinstance(source, Path) else "the photo"


def is_pipe(path: Path) -> bool:
    """Whether a path is a named pipe, or one that the shell made of a command (`<(...)`)."""
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def read_source(source: Source, max_bytes: int, program: Program = "sdsr upscale") -> bytes:
    """Return the bytes of a photo. Raises InputError for what is no file, LimitError for more than `max_bytes`.

    The latter names the option of `program` that allows more.
    """
    if isinstance(source, bytes):
        return _within(source, len(source), max_bytes, source_name(source), program)
    try:
        kind = _KINDS.get(stat.S_IFMT(source.stat().st_mode))
        if kind is not None:  # what can't be read again, or never ends
            raise InputError(f"{source.name} is {kind}, no file; {_remedy(source)}.")
        with source.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(HEAD_BYTES if size > max_bytes else -1)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{source.name} can't be read ({reason}); check its path and permissions.") from error
    return _within(data, max(size, len(data)), max_bytes, source.name, program)


def read_pipe(path: Path, max_bytes: int, patience_s: float | int = PIPE_PATIENCE_S) -> bytes:
    """Return all that a pipe gives, which can be had only once.

    Raises InputError where it gives nothing for `patience_s` seconds, LimitError for more than `max_bytes`.
    """
    try:
        pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # to open it plainly would wait for a writer, forever
        try:
            chunks = _chunks(pipe, path, max_bytes, patience_s)
        finally:
            os.close(pipe)
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); check what writes to it.") from error
    data = b"".join(chunks)
    return _within(data, len(data), max_bytes, path.name)


def _chunks(pipe: int, path: Path, max_bytes: int, patience_s: float | int) -> list[bytes]:
    chunks: list[bytes] = []
    received = 0
    while received <= max_bytes:
        if not select.select([pipe], [], [], patience_s)[0]:
            raise InputError(f"{path} is a pipe that gave nothing for {patience_s:g} s; check what writes to it.")
        try:
            chunk = os.read(pipe, _CHUNK_BYTES)
        except BlockingIOError:  # another reader was faster
            continue
        if not chunk:
            break
        chunks.append(chunk)
        received += len(chunk)
    return chunks


def _within(data: bytes, size: int, max_bytes: int, name: str, program: Program = "sdsr upscale") -> bytes:
    if size <= max_bytes:
        return data
    foreign = known_by_content(data[:HEAD_BYTES])
    if foreign is not None:
        raise InputError(f"{name} is {foreign}")
    remedy = how_to_read(file_bytes=size, program=program)
    raise LimitError(f"{name} has {size} bytes, limit {max_bytes}; {remedy}.")


def _remedy(source: Path) -> str:
    if source.is_dir():
        return "give a photo in it"
    return "give it alone, with -o FILE, to `sdsr upscale`" if is_pipe(source) else "give a file, or - and pipe it in"
