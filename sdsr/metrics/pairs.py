"""Which result belongs to which truth: photos of two trees matched by path, suffix and resolution tag ignored."""

import logging
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sdsr.errors import InputError
from sdsr.metrics.planes import Pixels
from sdsr.photos.files import read_photo
from sdsr.photos.finding import find_photos
from sdsr.photos.formats import SUFFIXES
from sdsr.photos.limits import RESULT_LIMITS

logger = logging.getLogger(__name__)

Picture = Callable[[], Pixels]
_TAG = re.compile(r"_(?:(?:LR|LQ|HR|HQ|SR|GT)(?:x?\d+)?|x\d+)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A result and, if known, its truth: functions that read them when their turn comes."""

    name: str
    result: Picture
    truth: Picture | None = None

    @classmethod
    def of(cls, name: str, result: Pixels, truth: Pixels) -> "Pair":
        """Return the pair of two pictures in memory."""
        return cls(name=name, result=lambda: result, truth=lambda: truth)


def read_pixels(path: Path) -> Pixels:
    """The sRGB pixels of a photo file, upright."""
    return read_photo(path, RESULT_LIMITS).pixels


def photos_by_name(folder: Path) -> dict[str, Path]:
    """The photos of a folder and its folders, sorted, by path less suffix and a trailing tag such as _LR4, _HR, _x4.

    Hidden files and folders are passed over, as `sdsr upscale` does.
    """
    if not os.path.isdir(folder):
        if not os.path.exists(folder):
            raise InputError(f"{folder} doesn't exist; check the path.")
        raise InputError(f"{folder} is not a folder; give a folder of photos.")
    found: dict[str, Path] = {}
    for path in find_photos(folder):
        if path.suffix.lower() not in SUFFIXES:
            continue
        within = path.relative_to(folder)
        name = within.with_name(_TAG.sub("", path.stem)).as_posix()
        if name in found:
            other = found[name].relative_to(folder)
            raise InputError(f"{path} and {other} both stand for photo {name}; keep one of them.")
        found[name] = path
    if not found:
        raise InputError(f"{folder} holds no photo ({', '.join(sorted(SUFFIXES))}); give a folder of photos.")
    return found


def given_and_true(
    lq: Path, truth: Path, names: Collection[str] | None = None
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the LQ photos and the true ones of two folders, by name: of these names, or all that have a truth.

    Raises InputError where an LQ photo is missing.
    """
    given = photos_by_name(lq)
    original = photos_by_name(truth)
    wanted = original if names is None else names
    missing = [name for name in wanted if name not in given]
    if missing:
        raise InputError(f"{lq} has no photo {missing[0]} ({len(missing)} are missing); give the folder of LQ photos.")
    return {name: given[name] for name in wanted}, {name: original[name] for name in wanted}


def pair_folders(results: Path, truth: Path | None = None) -> tuple[Pair, ...]:
    """A pair for each result. A result without a truth is an InputError; a truth without a result is logged."""
    restored = photos_by_name(results)
    if truth is None:
        return tuple(Pair(name=name, result=partial(read_pixels, path)) for name, path in restored.items())
    original = photos_by_name(truth)
    missing = [path.relative_to(results) for name, path in restored.items() if name not in original]
    if missing:
        raise InputError(
            f"{truth} has no partner for {len(missing)} of {len(restored)} results ({missing[0]} ...); "
            f"{_remedy(missing, original)}."
        )
    if len(restored) < len(original):
        logger.warning("%s covers %d of the %d photos of %s.", results, len(restored), len(original), truth)
    return tuple(
        Pair(name=name, result=partial(read_pixels, path), truth=partial(read_pixels, original[name]))
        for name, path in restored.items()
    )


def _remedy(missing: Sequence[Path], original: Mapping[str, Path]) -> str:
    """What to do about results without a truth; where only the folders differ, that."""
    stems = {Path(name).name for name in original}
    if all(_TAG.sub("", path.stem) in stems for path in missing):
        return "photos of those names are there in other folders: give two trees with the same folders in them"
    return "add them, or move those results away"
