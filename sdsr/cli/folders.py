"""Folders that commands write: complete, or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sdsr.errors import OutputError


@contextmanager
def complete_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a folder beside `target` to write into; its files move there when all are complete and on the disk.

    `target` is made at once, so that a place that can't be written is told before the work, and taken away again where
    that fails. Raises OutputError for a target that holds something, unless its files may be overwritten (others stay),
    and for one that can't be written.
    """
    if not overwrite and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"folder (={target}) is there and not empty; choose another, or add --overwrite.")
    made = [folder for folder in (target, *target.parents) if not folder.exists()]
    try:
        target.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise OutputError(f"folder (={target}) can't be written ({error.strerror}); choose another.") from error
    try:
        yield partial
        for path in sorted(partial.iterdir(), key=lambda path: path.suffix == ".json"):  # the description last
            path.chmod(0o644)
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.replace(target / path.name)
    except OSError as error:
        raise OutputError(
            f"folder (={target}) can't be written ({error.strerror}); free space or choose another."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):  # of one that holds something: the result, or what others put there
            for folder in made:
                folder.rmdir()
