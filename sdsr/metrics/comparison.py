"""LQ, results and truth side by side, each photo with one region enlarged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PillowImage

from sdsr.errors import InputError
from sdsr.metrics.pairs import photos_by_name, read_pixels
from sdsr.metrics.planes import Pixels, resized
from sdsr.metrics.sheet import busiest_region, contact_sheet
from sdsr.photos.depths import eight_bits
from sdsr.tensors import Region

ONE_PHOTO = "photo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which photos a comparison shows, and what of them: None for the region means the busiest square of `zoom_px`."""

    names: tuple[str, ...] = ()
    count: int = 6
    region: Region | None = None
    zoom_px: int = 96


def compare_photos(
    results: Sequence[Path],
    *,
    lq: Path | None = None,
    truth: Path | None = None,
    choice: Choice = Choice(),
    cell_px: int = 256,
) -> PillowImage.Image:
    """A contact sheet of some folders, or of some photos: LQ (enlarged by bicubic), each of the results, HR.

    Photos of folders are matched by name as `pair_folders` does; only photos that all have are shown.
    The region is chosen in the truth, or in the first result if there is none, and counted in its pixels.
    """
    columns = _columns(results, lq, truth)
    shown = _shown(columns, choice)
    reference = "HR" if truth else next(label for label in columns if label != "LQ (bicubic)")
    rows: dict[str, list[Pixels]] = {label: [] for label in columns}
    regions = []
    for name in shown:
        model = read_pixels(columns[reference][name])
        regions.append(choice.region or busiest_region(model, choice.zoom_px))
        for label, photos in columns.items():
            rows[label].append(model if label == reference else _sized(read_pixels(photos[name]), model))
    names = [] if shown == (ONE_PHOTO,) else shown
    return contact_sheet(rows, names=names, regions=regions, cell_px=cell_px)


def labels_of(results: Sequence[Path]) -> list[str]:
    """What to call these folders or photos: their names where those tell them apart, else their paths."""
    short = [path.stem if path.is_file() else path.name for path in results]
    labels = short if len(set(short)) == len(short) and not {"", "HR"} & set(short) else [str(path) for path in results]
    if len(set(labels)) < len(labels):
        raise InputError(f"results (={', '.join(labels)}) name one folder twice; give each once.")
    return labels


def _columns(results: Sequence[Path], lq: Path | None, truth: Path | None) -> dict[str, Mapping[str, Path]]:
    if not results:
        raise InputError("results (=none) must name a folder or photo; give at least one.")
    paths = {
        **({"LQ (bicubic)": lq} if lq else {}),
        **dict(zip(labels_of(results), results, strict=True)),
        **({"HR": truth} if truth else {}),
    }
    if all(path.is_file() for path in paths.values()):
        return {label: {ONE_PHOTO: path} for label, path in paths.items()}
    return {label: photos_by_name(path) for label, path in paths.items()}


def _shown(columns: Mapping[str, Mapping[str, Path]], choice: Choice) -> tuple[str, ...]:
    first, *others = columns.values()
    common = [name for name in first if all(name in other for other in others)]
    if not common:
        raise InputError(f"{', '.join(columns)} have no photo in common (=0); give folders with photos of equal names.")
    for name in choice.names:
        if name not in common:
            raise InputError(f"photo (={name}) is not in all folders; choose from {common[0]} ... {common[-1]}.")
    return choice.names or tuple(common[: choice.count])


def _sized(photo: Pixels, model: Pixels) -> Pixels:
    """The photo at the size of the model, by bicubic where it differs."""
    if photo.shape == model.shape:
        return photo
    return resized(eight_bits(photo), (model.shape[1], model.shape[0]))
