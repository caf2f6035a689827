"""One photo from standard input or a pipe, to standard output, or both."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sdsr.batch.restoring import check_target, restore
from sdsr.batch.settings import Settings
from sdsr.errors import InputError, OutputError
from sdsr.photos.sources import is_pipe, read_pipe

if TYPE_CHECKING:
    from sdsr.jobs import JobMaker

PIPE = Path("-")


def restore_piped(source: Path, output: Path | None, load: Callable[[], "JobMaker"], settings: Settings) -> None:
    """Restore one photo from standard input or a pipe, to standard output, or both."""
    from sdsr.photos.files import encode_photo, format_of, write_photo

    target = None if output in (None, PIPE) else output
    if target is None and sys.stdout.isatty():
        raise InputError("output (=-) is a terminal; redirect it to a file, or name one with -o.")
    format = settings.format or (format_of(target) if target else None)
    if target is not None:
        check_target(target, overwrite=settings.overwrite)
    data: Path | bytes = source
    if source == PIPE:
        data = sys.stdin.buffer.read(settings.limits.max_file_bytes + 1)
    elif is_pipe(source):
        data = read_pipe(source, settings.limits.max_file_bytes)
    maker = load()
    restored = restore(data, maker, settings, format=format)
    photo = restored.result
    if restored.chosen:
        typer.echo(f"sdsr: {restored.chosen}", err=True)
    format = format or photo.traits.format
    title = target.name if target is not None else "photo"
    seal = settings.seal(photo, title, data, maker.name)
    if target is not None:
        write_photo(photo, target, format=format, quality=settings.quality, overwrite=settings.overwrite, seal=seal)
        return
    try:
        sys.stdout.buffer.write(encode_photo(photo, format, settings.quality, seal=seal))
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OutputError(f"standard output can't be written ({error.strerror}); check what reads it.") from error
