"""From the objects of a bucket to what is done: which are photos, and what each result is called."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sdsr.batch.bucket.store import Seen, Store
from sdsr.batch.naming import USUAL_LIMIT
from sdsr.batch.walking import Naming, Task, distinct, mirrored
from sdsr.errors import InputError
from sdsr.photos.finding import is_photo_name
from sdsr.photos.formats import SUFFIXES
from sdsr.photos.urls import url_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """URLs of the folder of photos and of that of results."""

    photos: str
    results: str

    @classmethod
    def of(cls, photos: list[Path], output: Path | None) -> "Places | None":
        """Return the places of a command line; None where only files are named, InputError for both kinds at once."""
        sources = [url_of(photo) for photo in photos]
        target = None if output is None else url_of(output)
        if target is None and not any(sources):
            return None
        pages = [each for each in (*sources, target) if each is not None and each.startswith(("http://", "https://"))]
        if pages:
            raise InputError(
                f"{pages[0]} is a web address, which isn't fetched; download the photo, and name its file."
            )
        if len(sources) == 1 and output is None:
            raise InputError(f"results of {sources[0]} need a place; name a folder of a bucket with -o.")
        said = [source or str(photo) for source, photo in zip(sources, photos, strict=True)]
        if len(sources) != 1 or sources[0] is None or target is None:
            raise InputError(
                f"photos (={', '.join(said)}) and output (={target or output}) must both be URLs of one folder each; "
                "copy photos or results from or to a bucket by its own tool."
            )
        if sources[0] == target:
            raise InputError(f"output (={target}) must be another folder than the photos'; name a new one.")
        return cls(photos=sources[0], results=target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Places, what the store told of each object below the photos' one, and whether this process has a part `alone`."""

    places: Places
    photos: Mapping[str, Seen]
    alone: bool = False


def plan_bucket(places: Places, naming: Naming, *, alone: bool = False) -> tuple[list[Task], Bucket]:
    """Return the tasks of a bucket's photos, no two with one target, and the bucket as it was listed.

    The tasks have URLs for paths. Suffixes are taken at their word, as no object is read.
    Raises InputError where the bucket can't be listed or holds no photo.
    """
    objects = Store(places.photos).listed()
    results = places.results.removeprefix(f"{places.photos}/")
    inside = f"{results}/" if results != places.results else None
    wanted = [name for name in objects if is_photo_name(name) and not (inside and name.startswith(inside))]
    names = sorted((name for name in wanted if _is_path(name)), key=lambda name: name.split("/"))
    if len(names) < len(wanted):
        log.warning("%d objects have names that are no paths, and are passed over.", len(wanted) - len(names))
    if not names:
        raise InputError(f"{places.photos} holds no photo ({', '.join(SUFFIXES)}); check the URL.")
    folder = Path(places.photos)
    root = Path(places.results)
    found = ((folder / below, last) for below, _, last in (name.rpartition("/") for name in names))
    tasks = [
        replace(task, photo=f"{places.photos}/{task.name}", result=f"{places.results}/{task.result_name}")
        for task in distinct(mirrored(found, folder, root, naming, USUAL_LIMIT))
    ]
    return tasks, Bucket(places=places, photos={name: objects[name] for name in names}, alone=alone)


def _is_path(name: str) -> bool:
    return all(part not in ("", ".", "..") for part in name.split("/")) and "\0" not in name
