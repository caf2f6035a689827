"""Names of results that their file system can hold: one that gets too long is cut, and stays a name of its own.

On Windows they are such as it allows. Source: Microsoft, "Naming Files, Paths, and Namespaces".
"""

import hashlib
import os
import re
import unicodedata
from pathlib import Path

WINDOWS = os.name == "nt"
USUAL_LIMIT = 255
_DIGEST_CHARACTERS = 8
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_DEVICES = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])", re.IGNORECASE)


def fitted(folder: Path, stem: str, ending: str = "", *, limit: int | None = None) -> str:
    """Return `stem` and `ending` as the name of a file in `folder`, which need not be there yet.

    Where that is longer than the file system allows (`limit`, asked of it if not given), the stem's end gives way to a
    digest of it. On Windows, what it forbids is replaced.
    """
    if WINDOWS:
        stem, ending = windows_name(stem, ending)
    limit = name_limit(folder) if limit is None else limit
    if name_length(stem + ending) <= limit:
        return stem + ending
    digest = hashlib.sha256(stem.encode(errors="surrogateescape")).hexdigest()[:_DIGEST_CHARACTERS]
    while stem and name_length(f"{stem}~{digest}{ending}") > limit:
        stem = stem[:-1]
    while stem and (unicodedata.combining(stem[-1]) or stem[-1] in "\u200d\ufe0f"):  # of a character that was cut
        stem = stem[:-1]
    return f"{stem}~{digest}{ending}"


def name_limit(folder: Path) -> int:
    """Return how long a name may be where the folder is or will be, in what `name_length` counts."""
    try:
        return os.pathconf(nearest_folder(folder), "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows, or a file system that doesn't say
        return USUAL_LIMIT


def nearest_folder(folder: Path) -> Path:
    """Return a folder where it is there, else the nearest one above that is."""
    while not os.path.isdir(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def name_length(name: str) -> int:
    """Return the length that file systems limit: bytes, and on Windows units of UTF-16."""
    return len(name.encode("utf-16-le", "surrogatepass")) // 2 if WINDOWS else len(os.fsencode(name))


def split_suffix(name: str) -> tuple[str, str]:
    """Return the stem and the suffix of a name, as a path has them.

    >>> split_suffix("a.b.jpg"), split_suffix(".jpg"), split_suffix("a.")
    (('a.b', '.jpg'), ('.jpg', ''), ('a.', ''))
    """
    dot = name.rfind(".")
    return (name[:dot], name[dot:]) if 0 < dot < len(name) - 1 else (name, "")


def text_key(text: str) -> str:
    """Return what two paths share where a file system knows no case, or only one spelling of an accent."""
    return unicodedata.normalize("NFC", text.casefold())


def windows_name(stem: str, ending: str = "") -> tuple[str, str]:
    """Return the stem and the ending of a name as Windows allows them together, changed only where they must be.

    Signs that no name may hold become `_`; a name of a device (CON, aux.jpg, com1.tar.png) gets a `_` after the device;
    dots and spaces at the end, which Windows drops, become `_`.
    """
    stem = _FORBIDDEN.sub("_", stem)
    ending = _FORBIDDEN.sub("_", ending)
    base, dot, rest = stem.partition(".")
    own = base if dot else base + ending.partition(".")[0]
    if _DEVICES.fullmatch(own.rstrip(" ")):
        stem = f"{base.rstrip(' ')}_{dot}{rest}"
    name = stem + ending
    kept = name.rstrip(" .")
    if kept == name and name:
        return stem, ending
    fixed = kept + "_" * max(1, len(name) - len(kept))
    return (fixed[: len(stem)], fixed[len(stem) :]) if ending else (fixed, "")
