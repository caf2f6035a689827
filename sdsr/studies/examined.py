"""Photos whose truth is known, restored in several passes: what was seen of each result, and its error."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from sdsr.errors import InputError
from sdsr.photos.depths import eight_bits
from sdsr.photos.parts import whole_file
from sdsr.photos.photo import Photo
from sdsr.restoration.passes import Passes
from sdsr.studies.samples import Sample
from sdsr.trust.consistency import measure_consistency
from sdsr.trust.expected_error import Clues, true_error

CLUES = tuple(field.name for field in fields(Clues))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examined:
    """One photo whose truth is known: what was seen of its result, and its error, cell by cell."""

    name: str
    clues: Clues
    error: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A folder in which a study finds again what it has examined, so that it can be stopped.

    `run` says what restores, in words; a file's name is a digest of these words, the photo and its truth.
    """

    folder: Path
    run: str

    def path(self, photo: Photo, truth: Photo) -> Path:
        """Return where a pair is kept."""
        digest = hashlib.sha256(self.run.encode())
        for pixels in (photo.pixels, truth.pixels):
            digest.update(f"{pixels.shape} {pixels.dtype}".encode())
            digest.update(np.ascontiguousarray(pixels).data)
        return self.folder / f"{digest.hexdigest()[:32]}.npz"


def examine(
    samples: Sequence[Sample],
    run: Callable[[Photo], Passes],
    told: Callable[[str], None] = lambda name: None,
    archive: Archive | None = None,
) -> list[Examined]:
    """Restore each photo in several passes (`run`) and hold the first against its truth."""
    examined = []
    for sample in samples:
        photo = sample.lq()
        truth = Photo(pixels=np.ascontiguousarray(eight_bits(sample.truth())))
        kept = archive and archive.path(photo, truth)
        if kept and kept.exists():
            found = _read(kept, sample.name)
        else:
            found = _held_against(truth, photo, run(photo), sample.name)
        if kept and not kept.exists():
            _write(kept, found)
        examined.append(found)
        told(sample.name)
    return examined


def _held_against(truth: Photo, photo: Photo, passes: Passes, name: str) -> Examined:
    if passes.first.size != truth.size:
        raise InputError(f"truth of {name} (={truth.size}) must have the result's size {passes.first.size}.")
    clues = Clues.of(passes.first, passes.spread, measure_consistency(passes.first, photo))
    return Examined(name=name, clues=clues, error=true_error(passes.first, truth))


def _read(path: Path, name: str) -> Examined:
    with np.load(path) as maps:
        error, *clues = (maps[each] for each in ("error", *CLUES))
    return Examined(name=name, clues=Clues(**dict(zip(CLUES, clues, strict=True))), error=error)


def _write(path: Path, found: Examined) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, error=found.error, **{name: getattr(found.clues, name) for name in CLUES})
