"""What the manifest of a folder of results says, whether it is still true, and several of them made one."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from sdsr.batch.claims import Claims, count_claims
from sdsr.batch.entries import Entry
from sdsr.batch.journal import NAME, manifest_of
from sdsr.batch.manifest import Manifest
from sdsr.digests import file_sha256
from sdsr.errors import InputError, OutputError
from sdsr.photos.finding import find_photos
from sdsr.photos.parts import whole_file
from sdsr.photos.urls import url_of

State = Literal["whole", "interrupted", "missing", "changed"]
Merged = Literal["taken", "there already", "different", "not whole"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far a folder of results is: numbers of results.

    `done`: noted, and there. `missing`: noted as done, and gone. `interrupted`: begun, and not there. `in_work`:
    claimed by a process now. `unnoted`: pictures that no note tells of.
    """

    done: int
    missing: int
    interrupted: int
    in_work: int
    unnoted: int


def status(root: Path) -> Status:
    """Return how far a folder of results is; no result is read. Raises InputError where it has no manifest."""
    manifest = _open(root)
    there = {name: os.path.isfile(root / name) for name in manifest.entries}
    gone = [manifest.entries[name] for name, is_there in there.items() if not is_there]
    found = {photo.relative_to(root).as_posix() for photo in find_photos(root)}
    return Status(
        done=sum(there.values()),
        missing=sum(entry.output_sha256 is not None for entry in gone),
        interrupted=sum(entry.output_sha256 is None for entry in gone),
        in_work=count_claims(root),
        unnoted=len(found - manifest.entries.keys()),
    )


def verify(root: Path) -> Iterator[tuple[str, State]]:
    """Read all results and yield the name of each and whether it is what was written; InputError without a manifest.

    One that was begun and is there is whole: results appear only when they are.
    """
    manifest = _open(root)
    for name in sorted(manifest.entries):
        yield name, _state(root / name, manifest.entries[name])


def merge(root: Path, others: Sequence[Path]) -> Iterator[tuple[Path, Merged]]:
    """Bring the results of other folders, each with a manifest, into one, and yield what became of each.

    A result is copied whole, read back, and noted; one that is not what its manifest says is left where it is, and so
    is one whose name is taken by a different one. Raises InputError for a folder without manifest
    or given twice.
    """
    if any(other.resolve() == root.resolve() for other in others):
        raise InputError(f"folder (={root}) can't be merged into itself; name the others.")
    opened = {other: _open(other) for other in others}
    manifest = manifest_of(root)
    with closing(Claims(root)) as claims:
        for other, noted in opened.items():
            for name in sorted(noted.entries):
                yield other / name, _merge_one(manifest, claims, other / name, name, noted.entries[name])


def _merge_one(manifest: Manifest, claims: Claims, source: Path, name: str, entry: Entry) -> Merged:
    target = claims.root / name
    if _state(source, entry) != "whole":
        return "not whole"
    digest = entry.output_sha256 or file_sha256(source)
    noted = Entry(work=replace(entry.work, input_mark=None), output_sha256=digest, version=entry.version)
    claim = claims.take(name)
    if claim is None:
        raise OutputError(f"{target} is being written by another process; merge when that is done.")
    try:
        if os.path.isfile(target):
            if file_sha256(target) != digest:
                return "different"
            if name not in manifest.entries:
                manifest.adopt({name: noted})
            return "there already"
        _copy(source, target, digest)
        manifest.adopt({name: noted})
        return "taken"
    finally:
        claim.release()


def _copy(source: Path, target: Path, digest: str) -> None:
    """Copy a file to where nothing is, whole or not at all; raise OutputError where that can't be."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target, durable=True) as part:
            shutil.copyfile(source, part)
            if file_sha256(part) != digest:
                raise OutputError(f"{target} reads back as another file than was written; the disk may be failing.")
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{target} can't be written ({error.strerror}); free some space, or choose another."
        ) from error


def _state(path: Path, entry: Entry) -> State:
    if not os.path.isfile(path):
        return "interrupted" if entry.output_sha256 is None else "missing"
    if entry.stands_for(file_sha256(path)):
        return "whole"
    return "interrupted" if entry.output_sha256 is None else "changed"


def _open(root: Path) -> Manifest:
    if (url := url_of(root)) is not None:
        raise InputError(
            f"{url} is a bucket, whose manifest is read by `sdsr upscale` alone; copy the folder here first."
        )
    if not (root / NAME).is_file():
        raise InputError(f"folder (={root}) has no manifest ({NAME}); name one that `sdsr upscale -o` wrote.")
    manifest = manifest_of(root)
    for name in manifest.entries:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"manifest of {root} names a file beyond it (={name}); it was not written by sdsr.")
    return manifest
