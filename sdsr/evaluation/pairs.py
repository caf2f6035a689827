"""Which result belongs to which truth: photos of two folders matched by stem, their resolution tags ignored."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sdsr.errors import InputError
from sdsr.evaluation.planes import Pixels
from sdsr.images.files import read_photo

logger = logging.getLogger(__name__)

Picture = Callable[[], Pixels]
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"})
_TAG = re.compile(r"_(?:(?:LR|LQ|HR|HQ|SR|GT)(?:x?\d+)?|x\d+)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A result and, if known, its truth: functions that read them when their turn comes."""

    name: str
    result: Picture
    truth: Picture | None = None


def read_pixels(path: Path) -> Pixels:
    """The sRGB pixels of a photo file, upright."""
    return read_photo(path).pixels


def photos_by_name(folder: Path) -> dict[str, Path]:
    """The photos of one folder, without subfolders, sorted, by stem less a trailing tag such as _LR4, _HR, _x4."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a folder of photos.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        name = _TAG.sub("", path.stem)
        if name in found:
            raise InputError(f"{path} and {found[name].name} both stand for photo {name}; keep one of them.")
        found[name] = path
    if not found:
        raise InputError(f"{folder} holds no photo ({', '.join(sorted(SUFFIXES))}); give a folder of photos.")
    return found


def pair_folders(results: Path, truth: Path | None = None) -> tuple[Pair, ...]:
    """A pair for each result. A result without a truth is an InputError; a truth without a result is logged."""
    restored = photos_by_name(results)
    if truth is None:
        return tuple(Pair(name=name, result=partial(read_pixels, path)) for name, path in restored.items())
    original = photos_by_name(truth)
    missing = [path.name for name, path in restored.items() if name not in original]
    if missing:
        raise InputError(
            f"{truth} has no partner for {len(missing)} of {len(restored)} results ({missing[0]} ...); "
            "add them, or move those results away."
        )
    if len(restored) < len(original):
        logger.warning("%s covers %d of the %d photos of %s.", results, len(restored), len(original), truth)
    return tuple(
        Pair(name=name, result=partial(read_pixels, path), truth=partial(read_pixels, original[name]))
        for name, path in restored.items()
    )
