"""From what was named to what is done: the photos of files and folders, and where each result goes."""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from sdsr.batch.naming import fitted, name_limit, split_suffix, text_key
from sdsr.batch.templates import Template
from sdsr.errors import InputError
from sdsr.photos.finding import find_names
from sdsr.photos.foreign import known_by_suffix
from sdsr.photos.formats import HEAD_BYTES, SUFFIX_OF, SUFFIXES, Format, begins_like
from sdsr.photos.sources import is_pipe
from sdsr.request import Request

_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One photo and where its result goes; `root` is the folder of results it belongs to, None for a lone file.

    `photo` and `result` are their paths as text, since there may be very many; `source` and `target` are them as paths.
    `name` is the photo's path below the folder that was named, with slashes; a lone file's is its own. It was `found`
    in that folder, unless it was named itself.
    """

    photo: str
    result: str
    root: Path | None = None
    name: str = ""
    found: bool = False

    @classmethod
    def of(cls, source: Path, target: Path, *, root: Path | None = None, name: str = "") -> "Task":
        """Return the task of two paths."""
        return cls(photo=str(source), result=str(target), root=root, name=name)

    @property
    def source(self) -> Path:
        return Path(self.photo)

    @property
    def target(self) -> Path:
        return Path(self.result)

    @property
    def result_name(self) -> str:
        """The result's path below its folder of results, with slashes; a lone file's is its name."""
        if self.root is None:
            return self.target.name
        beginning = f"{self.root}{os.sep}"
        if self.result.startswith(beginning):
            return self.result.removeprefix(beginning).replace(os.sep, "/")
        return self.target.relative_to(self.root).as_posix()


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """What results are called after: `template` None stands for a lone file's `{stem}_{size}`, a folder's `{stem}`."""

    request: Request
    format: Format | None = None
    template: Template | None = None
    model: str = ""

    def target(self, folder: Path, source: Path) -> Path:
        """Return where a photo's result goes in a folder, by the template or else with its size."""
        template = self.template or _TAGGED
        values = {"stem": source.stem, "size": tag(self.request), "model": self.model, "seed": str(self.request.seed)}
        if "{folder}" in template.text:
            values["folder"] = source.parent.resolve().name
        *parents, stem = template.parts(values)
        for parent in parents:
            folder /= fitted(folder, parent)
        ending = stem.removeprefix(source.stem) if self.template is None else ""
        stem = source.stem if self.template is None else stem
        return folder / fitted(folder, stem, ending + _suffix(source, source.suffix, self.format))

    def below(self, folder: Path, photo: str, name: str, limit: int) -> str:
        """Return where the result of a photo of this name goes in a folder that mirrors its own."""
        if self.template is not None:
            return str(self.target(folder, Path(photo)))
        stem, suffix = split_suffix(name)
        return _joined(folder, fitted(folder, stem, _suffix(photo, suffix, self.format), limit=limit))


_TAGGED = Template(text="{stem}_{size}")


def plan(sources: Sequence[Path], naming: Naming, *, output: Path | None = None) -> list[Task]:
    """Return the tasks of files and folders, no two with one target; results are called as `naming` says.

    A file gets its size as a tag (`photo_x4.jpg`), beside it or in the folder `output`, which may also be the file to
    write. A folder's tree is mirrored in `output`, by default `FOLDER_x4` beside it, with the names as they are.
    """
    tasks: list[Task] = []
    as_file = _names_a_file(output)
    if as_file and (len(sources) != 1 or os.path.isdir(sources[0])):
        raise InputError(f"output (={output}) is one file, and more than one photo was given; name a folder.")
    for source in sources:
        if is_pipe(source):
            raise InputError(f"{source} is a pipe, which stands for one photo; give it alone, with -o FILE.")
        if os.path.isdir(source):  # which says no where Path.is_dir fails: of a name too long
            tasks += _folder_tasks(source, output or _beside(source, naming.request), naming)
        elif as_file:
            assert output is not None
            tasks.append(Task.of(source, output, name=source.name))
        else:
            target = naming.target(output or source.parent, source)
            tasks.append(Task.of(source, target, root=output, name=source.name))
    return list(distinct(tasks))


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


def sniff(source: Path | str) -> Format | None:
    """Return the format that a file begins like; whether it is a photo at all, the reader decides."""
    try:
        file = os.open(source, os.O_RDONLY | _WITHOUT_WAITING)  # a pipe would block
    except (OSError, ValueError):
        return None
    try:  # what is taken from a pipe is lost
        return begins_like(os.read(file, HEAD_BYTES)) if stat.S_ISREG(os.fstat(file).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(file)


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


def _folder_tasks(folder: Path, root: Path, naming: Naming) -> Iterator[Task]:
    if root.resolve() == folder.resolve():
        raise InputError(f"output (={root}) must be another folder than the photos'; name a new one.")
    photos = find_names(folder, besides=root)
    if not photos:
        raise InputError(f"folder (={folder}) holds no photo ({', '.join(SUFFIXES)}); name another.")
    yield from mirrored(photos, folder, root, naming, name_limit(root))


def mirrored(
    photos: Iterable[tuple[Path, str]], folder: Path, root: Path, naming: Naming, limit: int
) -> Iterator[Task]:
    """Yield the tasks of a folder's photos, whose results keep its tree; names of parts have at most `limit` bytes.

    Photos are given by their folders, in or below the `folder`, and their names there.
    """
    for here, group in groupby(photos, key=itemgetter(0)):
        parts = here.relative_to(folder).parts
        beyond = root.joinpath(*(fitted(root, part, limit=limit) for part in parts))
        below = "".join(f"{part}/" for part in parts)
        for _, name in group:
            photo = _joined(here, name)
            result = naming.below(beyond, photo, name, limit)
            yield Task(photo=photo, result=result, root=root, name=below + name, found=True)


def _joined(folder: Path, name: str) -> str:
    """Return the text of the path of a name in a folder."""
    return name if str(folder) == "." else os.path.join(folder, name)


def _suffix(source: Path | str, own: str, format: Format | None) -> str:
    """Return the suffix of a result: the source's own where that says the truth."""
    meant = SUFFIXES.get(own.lower())
    format = format or sniff(source) or meant or "PNG"
    return own if meant == format else SUFFIX_OF[format]


def distinct(tasks: Iterable[Task]) -> Iterator[Task]:
    """Yield the tasks; where several would write one file, those that change format say what they were (a.png.jpg)."""
    found = list(tasks)
    wanted = Counter(text_key(task.result) for task in found)
    if len(wanted) < len(found):
        named = [task for task in found if not task.found]  # which is the last word on a photo that was found, too
        found = list({(task.photo, task.result): task for task in (*found, *named)}.values())
        wanted = Counter(text_key(task.result) for task in found)
    if len(wanted) == len(found):
        yield from found
        return
    taken = {key for key, count in wanted.items() if count == 1}
    for task in found:
        if wanted[text_key(task.result)] > 1:
            result = next(each for each in _other_names(task, len(found)) if text_key(each) not in taken)
            taken.add(text_key(result))
            task = replace(task, result=result)
        yield task


def _other_names(task: Task, tasks: int) -> Iterator[str]:
    """Yield what a result may be called instead: after what the photo was, then by numbers."""
    target = task.target
    stem = target.stem
    suffix = target.suffix
    own = task.source.suffix
    if suffix == own:
        yield task.result
    else:
        yield str(target.with_name(fitted(target.parent, f"{stem}{own}", suffix)))
    for number in range(2, tasks + 2):
        yield str(target.with_name(fitted(target.parent, stem, f"_{number}{suffix}")))


def _beside(folder: Path, request: Request) -> Path:
    folder = folder.resolve() if folder.name in ("", "..") else folder
    return folder.with_name(fitted(folder.parent, folder.name, f"_{tag(request)}"))
