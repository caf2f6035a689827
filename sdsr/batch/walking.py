"""From what was named to what is done: the photos of files and folders, and where each result goes."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sdsr.batch.naming import fitted, name_key
from sdsr.errors import InputError
from sdsr.photos.finding import find_photos
from sdsr.photos.foreign import known_by_suffix
from sdsr.photos.formats import HEAD_BYTES, SUFFIX_OF, SUFFIXES, Format, begins_like
from sdsr.photos.sources import is_pipe
from sdsr.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One photo and where its result goes; `root` is the folder of results it belongs to, None for a lone file."""

    source: Path
    target: Path
    root: Path | None = None


def plan(
    sources: Sequence[Path], request: Request, *, output: Path | None = None, format: Format | None = None
) -> list[Job]:
    """Return the jobs of files and folders, no two with one target.

    A file gets its size as a tag (`photo_x4.jpg`), beside it or in the folder `output`, which may also be the file to
    write. A folder's tree is mirrored in `output`, by default `FOLDER_x4` beside it, with the names as they are.
    """
    jobs: list[Job] = []
    as_file = _names_a_file(output)
    if as_file and (len(sources) != 1 or os.path.isdir(sources[0])):
        raise InputError(f"output (={output}) is one file, and more than one photo was given; name a folder.")
    for source in sources:
        if is_pipe(source):
            raise InputError(f"{source} is a pipe, which stands for one photo; give it alone, with -o FILE.")
        if os.path.isdir(source):  # which says no where Path.is_dir fails: of a name too long
            jobs += _folder_jobs(source, output or _beside(source, request), format)
        elif as_file:
            assert output is not None
            jobs.append(Job(source=source, target=output))
        else:
            folder = output or source.parent
            name = fitted(folder, source.stem, f"_{tag(request)}{_suffix(source, format)}")
            jobs.append(Job(source=source, target=folder / name, root=output))
    return list(_distinct(jobs))


def tag(request: Request) -> str:
    """Return the wanted size as a part of a file name: x4, w1920, h1080, 1920x1080, 12mp."""
    match request:
        case Request(width=int(width), height=int(height)):
            return f"{width}x{height}"
        case Request(width=int(width)):
            return f"w{width}"
        case Request(height=int(height)):
            return f"h{height}"
        case Request(megapixels=megapixels) if megapixels is not None:
            return f"{megapixels:g}mp"
    return f"x{request.scale or 4:g}"


def sniff(source: Path) -> Format | None:
    """Return the format that a file begins like; whether it is a photo at all, the reader decides."""
    if not os.path.isfile(source):  # a pipe would block, and what is taken from it is lost
        return None
    try:
        with source.open("rb") as file:
            return begins_like(file.read(HEAD_BYTES))
    except OSError:
        return None


def _names_a_file(output: Path | None) -> bool:
    """Whether the output is to be one file. Raises InputError for what is neither one nor a folder, or looks so."""
    if output is None or os.path.isdir(output):
        return False
    suffix = output.suffix.lower()
    if suffix in SUFFIXES:
        return True
    choice = f"end its name on one of {', '.join(SUFFIXES)}, or name a folder"
    foreign = known_by_suffix(suffix)
    near = get_close_matches(suffix, SUFFIXES, n=1, cutoff=0.75)
    if os.path.exists(output):
        raise InputError(f"output (={output}) is there and is no folder; {choice}.")
    if foreign is not None:
        raise InputError(f"output (={output}) would be {foreign.name}, which isn't written; {choice}.")
    if near:
        raise InputError(f"output (={output}) has an unknown suffix, near to {near[0]}; {choice} that exists.")
    return False


def _folder_jobs(folder: Path, root: Path, format: Format | None) -> Iterator[Job]:
    if root.resolve() == folder.resolve():
        raise InputError(f"output (={root}) must be another folder than the photos'; name a new one.")
    photos = find_photos(folder, besides=root)
    if not photos:
        raise InputError(f"folder (={folder}) holds no photo ({', '.join(SUFFIXES)}); name another.")
    for photo in photos:
        parents = [fitted(root, part) for part in photo.relative_to(folder).parts[:-1]]
        target = root.joinpath(*parents, fitted(root, photo.stem, _suffix(photo, format)))
        yield Job(source=photo, target=target, root=root)


def _suffix(source: Path, format: Format | None) -> str:
    """Return the suffix of a result: the source's own where that says the truth."""
    format = format or sniff(source) or SUFFIXES.get(source.suffix.lower(), "PNG")
    return source.suffix if SUFFIXES.get(source.suffix.lower()) == format else SUFFIX_OF[format]


def _distinct(jobs: Iterable[Job]) -> Iterator[Job]:
    """Yield the jobs; where several would write one file, those that change format say what they were (a.png.jpg)."""
    jobs = list(dict.fromkeys(jobs))
    wanted = Counter(name_key(job.target) for job in jobs)
    taken = {name_key(job.target) for job in jobs if wanted[name_key(job.target)] == 1}
    for job in jobs:
        target = job.target
        if wanted[name_key(target)] > 1:
            stem = target.stem
            suffix = target.suffix
            names = [target.name if suffix == job.source.suffix else f"{stem}{job.source.suffix}{suffix}"]
            names = [fitted(target.parent, Path(name).stem, suffix) for name in names]
            names += [fitted(target.parent, stem, f"_{number}{suffix}") for number in range(2, len(jobs) + 2)]
            candidates = [target.with_name(name) for name in names]
            target = next(candidate for candidate in candidates if name_key(candidate) not in taken)
            taken.add(name_key(target))
        yield Job(source=job.source, target=target, root=job.root)


def _beside(folder: Path, request: Request) -> Path:
    folder = folder.resolve() if folder.name in ("", "..") else folder
    return folder.with_name(fitted(folder.parent, folder.name, f"_{tag(request)}"))
