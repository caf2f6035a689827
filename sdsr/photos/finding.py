"""Which photos are in a folder: all of its tree, linked folders too, and a word on whatever is passed over."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from sdsr.photos.foreign import PICTURE_SUFFIXES, known_by_suffix
from sdsr.photos.formats import SUFFIXES

log = logging.getLogger(__name__)

SYSTEM_FOLDERS = {"__macosx", "$recycle.bin", "system volume information", "@eadir", "lost+found"}
_WANTED = SUFFIXES.keys() | PICTURE_SUFFIXES  # pictures that aren't read are named as such by the reader


def find_photos(folder: Path) -> list[Path]:
    """Return the photos in a folder and its folders, sorted, as `find_names` finds them."""
    return [here / name for here, name in find_names(folder)]


def find_names(folder: Path, *, besides: Path | None = None) -> list[tuple[Path, str]]:
    """Return the photos in a folder and its folders, sorted; hidden and system ones and `besides` are passed over.

    Each is its folder and its name there, which of very many photos take little room. A link to a folder is followed,
    unless that one is reached anyway or lies above. What isn't followed or can't be read, and what is no picture
    (videos, documents), is named in the log. A link that leads nowhere and what is no plain file are returned like
    photos, so that their reader says what is wrong.
    """
    found: list[tuple[tuple[str, ...], Path, str]] = []
    others: Counter[str] = Counter()
    for here, names in _folders(folder, besides.resolve() if besides else None):
        parts = here.parts
        for name in names:
            suffix = f".{name.rpartition('.')[2].lower()}"
            if suffix in _WANTED:
                found.append(((*parts, name), here, name))
            elif known_by_suffix(suffix) is not None and not _is_report(name):
                others[suffix] += 1
    if others:
        told = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        log.warning("%s also holds files that are no photos (%s); they are passed over.", folder, told)
    found.sort(key=itemgetter(0))  # by folders, then by name, as paths are; which comparing paths takes long to do
    return [(here, name) for _, here, name in found]


def _is_report(name: str) -> bool:
    """Whether it is called like a page of ours that tells of a result, or of a folder of them."""
    return name == "report.html" or name.endswith(".report.html")


def is_photo_name(name: str) -> bool:
    """Whether a path with slashes is that of a photo that `find_photos` would return, by its name alone.

    >>> is_photo_name("a/b.JPG"), is_photo_name("a/.b.jpg"), is_photo_name("@eaDir/b.jpg"), is_photo_name("a.mp4")
    (True, False, False, False)
    """
    return all(_visible(part) for part in name.split("/")) and f".{name.rpartition('.')[2].lower()}" in _WANTED


def _folders(root: Path, passed: Path | None) -> Iterator[tuple[Path, list[str]]]:
    """Yield each visible folder and the visible files in it, once: the tree's own first, then what links lead to."""
    seen = set[Path]()
    links = list[Path]()
    waiting = [root]
    while waiting or links:
        linked = not waiting
        here = waiting.pop() if waiting else links.pop(0)
        real = _real(here)
        if linked and not _worth_following(here, real, seen, root):
            continue
        if real is None or real == passed or real in seen:
            continue
        seen.add(real)
        files: list[str] = []
        for entry in _entries(here):
            if _is_folder(entry):
                (links if entry.is_symlink() else waiting).append(here / entry.name)
            else:
                files.append(entry.name)
        links.sort()
        yield here, files


def _worth_following(link: Path, real: Path | None, seen: set[Path], root: Path) -> bool:
    top = _real(root)
    if real is None or top is None or real == top or real in top.parents:
        log.warning("the link %s leads back to a folder above (%s) and isn't followed.", link, real)
        return False
    if real in seen:
        log.info("the link %s leads to a folder that is among the photos anyway (%s).", link, real)
        return False
    return True


def _real(folder: Path) -> Path | None:
    """Return where a folder really is; None for a link that leads to itself."""
    try:
        return folder.resolve(strict=True)
    except (OSError, RuntimeError):
        return None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if _visible(entry.name)]
    except OSError as error:
        log.warning("folder %s can't be read (%s); its photos are passed over.", folder, error.strerror)
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or leads to one; names a link that leads nowhere and isn't called like a photo."""
    try:
        if entry.is_dir():
            return True
        lost = entry.is_symlink() and not os.path.exists(entry.path)
    except OSError:  # a link that leads to itself
        lost = True
    if lost and Path(entry.name).suffix.lower() not in _WANTED:
        log.warning("the link %s leads nowhere and is passed over.", entry.path)
    return False


def _visible(name: str) -> bool:
    return not name.startswith((".", "~$")) and name.casefold() not in SYSTEM_FOLDERS
