"""Rankings by eye without names: the same region of several results under letters, and what the rankings amount to."""

import csv
import io
import itertools
import json
import random
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PillowImage

from sdsr.errors import InputError
from sdsr.metrics.anchors import bicubic
from sdsr.metrics.pairs import photos_by_name, read_pixels
from sdsr.metrics.planes import Pixels
from sdsr.metrics.sheet import Cell, busiest_region, cropped, grid_of

BICUBIC = "bicubic"
Letters = Mapping[str, str]
"""A letter of a sheet -> the label of the result under it."""
Order = tuple[tuple[str, ...], ...]
"""Letters from the best to the worst, equals together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The crops of one photo, and what its letters stand for."""

    name: str
    image: PillowImage.Image
    letters: Letters


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """How two results stood on the photos that had both."""

    before: int = 0
    equal: int = 0
    behind: int = 0

    @property
    def photos(self) -> int:
        """On how many photos they met."""
        return self.before + self.equal + self.behind


def blind_sheets(
    lq: Path,
    results: Mapping[str, Path],
    *,
    rng: random.Random,
    every: int = 5,
    crop_px: int = 256,
    truth: Path | None = None,
) -> Iterator[Sheet]:
    """A sheet for every fifth photo: its busiest square at one pixel for one, of each result and of bicubic, shuffled.

    The square is chosen in the bicubic enlargement, so no result has a say. A result that a folder lacks is left out of
    that photo's sheet. With `truth` its crop stands first, named, as it is no competitor.
    """
    if BICUBIC in results:
        raise InputError(f"results (={BICUBIC}) has the name of what is added; rename that folder.")
    given = photos_by_name(lq)
    folders = {label: photos_by_name(folder) for label, folder in results.items()}
    originals = photos_by_name(truth) if truth else {}
    for name in list(given)[::every]:
        enlarged = bicubic(given[name])
        region = busiest_region(enlarged, crop_px)
        paths = {label: photos[name] for label, photos in folders.items() if name in photos}
        pictures = {BICUBIC: enlarged, **{label: _of_size(path, enlarged) for label, path in paths.items()}}
        labels = sorted(pictures)
        rng.shuffle(labels)
        letters = dict(zip(string.ascii_uppercase, labels, strict=False))
        cells = [Cell(photo=cropped(pictures[label], region), label=letter) for letter, label in letters.items()]
        if truth:
            if name not in originals:
                raise InputError(f"{truth} has no photo {name}; give the folder of all true photos.")
            cells.insert(0, Cell(photo=cropped(_of_size(originals[name], enlarged), region), label="truth"))
        side_px = max(region.height, region.width)
        yield Sheet(name=name, image=grid_of(cells, side_px), letters=letters)


def _of_size(path: Path, enlarged: Pixels) -> Pixels:
    pixels = read_pixels(path)
    if pixels.shape != enlarged.shape:
        raise InputError(
            f"{path} is {pixels.shape[1]}x{pixels.shape[0]} px and four times its LQ photo "
            f"{enlarged.shape[1]}x{enlarged.shape[0]}; restore at that scale."
        )
    return pixels


def read_rankings(text: str) -> dict[str, Order]:
    """Rankings by photo: JSON `{photo: order}`, or CSV with the columns photo and order; best first.

    An order is letters with spaces or commas between them, and = between equals, as in "B A=D C"; in JSON it may also
    be a list of such items.
    """
    if text.lstrip().startswith("{"):
        try:
            rows = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"rankings are no JSON (={error}); write {{photo: order}}.") from error
    else:
        lines = list(csv.DictReader(io.StringIO(text), skipinitialspace=True))
        if not lines or not {"photo", "order"} <= set(lines[0]):
            raise InputError(f"rankings (={text[:40]!r}) need the columns photo and order; write photo,order first.")
        rows = {line["photo"]: line["order"] for line in lines}
    return {photo: _parsed(photo, order) for photo, order in rows.items()}


def _parsed(photo: str, order: str | Sequence[str]) -> Order:
    items = order.replace(",", " ").split() if isinstance(order, str) else list(order)
    groups = tuple(tuple(letter.strip().upper() for letter in str(item).split("=")) for item in items)
    letters = list(itertools.chain.from_iterable(groups))
    if not letters or any(len(letter) != 1 for letter in letters) or len(set(letters)) < len(letters):
        raise InputError(f"order of {photo} (={order}) must name each letter once; write it as B A=D C.")
    return groups


def meetings(rankings: Mapping[str, Order], key: Mapping[str, Letters]) -> dict[tuple[str, str], Meeting]:
    """How each result stood against each other one, over the ranked photos.

    Raises InputError where a photo is unknown to the key, or an order doesn't name just its letters.
    """
    found: dict[tuple[str, str], Meeting] = {}
    for photo, order in rankings.items():
        places = _places(photo, order, key)
        for one, other in itertools.permutations(places, 2):
            met = found.get((one, other), Meeting())
            found[one, other] = Meeting(
                before=met.before + (places[one] < places[other]),
                equal=met.equal + (places[one] == places[other]),
                behind=met.behind + (places[one] > places[other]),
            )
    return found


def mean_places(rankings: Mapping[str, Order], key: Mapping[str, Letters]) -> dict[str, float]:
    """The mean place of each result, from the best; 1 is first, equals share the mean of their places."""
    places: dict[str, list[float]] = {}
    for photo, order in rankings.items():
        for label, place in _places(photo, order, key).items():
            places.setdefault(label, []).append(place)
    means = {label: sum(values) / len(values) for label, values in places.items()}
    return dict(sorted(means.items(), key=lambda item: (item[1], item[0])))


def _places(photo: str, order: Order, key: Mapping[str, Letters]) -> dict[str, float]:
    """The place of each result on one photo."""
    if photo not in key:
        raise InputError(f"photo (={photo}) is not in the key; it has {', '.join(list(key)[:3])} ...")
    letters = {letter for group in order for letter in group}
    if letters != set(key[photo]):
        raise InputError(f"order of {photo} (={' '.join(sorted(letters))}) must name {' '.join(sorted(key[photo]))}.")
    places: dict[str, float] = {}
    for group in order:
        place = len(places) + (len(group) + 1) / 2
        places |= {key[photo][letter]: place for letter in group}
    return places


def standings_lines(rankings: Mapping[str, Order], key: Mapping[str, Letters]) -> list[list[str]]:
    """A table's lines: mean place of each result, then on how many photos the row stood before each column.

    "14=2/20": before on 14, equal on 2, of 20 that had both.
    """
    means = mean_places(rankings, key)
    met = meetings(rankings, key)
    lines = [["result", "mean place", *(f"before {label}" for label in means)]]
    for row, place in means.items():
        cells = [met.get((row, column)) for column in means]
        shown = ["" if meeting is None else f"{meeting.before}={meeting.equal}/{meeting.photos}" for meeting in cells]
        lines.append([row, f"{place:.2f}", *shown])
    return lines
