"""Places of a photo that are to be protected, as they are typed and checked; knows no torch."""

from collections.abc import Sequence

from sdsr.errors import InputError
from sdsr.region import Region
from sdsr.request import PlaceKind


def parse_place(text: str) -> Region | PlaceKind:
    """Return the place of "LEFT,TOP,WIDTH,HEIGHT", in pixels of the photo, or "text"; InputError for anything else."""
    if text == "text":
        return "text"
    if text == "faces":
        raise InputError("protect (=faces) can't be found by itself: there is no detector; name LEFT,TOP,WIDTH,HEIGHT.")
    numbers = text.split(",")
    if len(numbers) != 4 or not all(number.strip().isdecimal() for number in numbers):
        raise InputError(
            f"protect (={text}) must be LEFT,TOP,WIDTH,HEIGHT in pixels of the photo, or text; try 120,80,200,40."
        )
    return Region.of_box(*map(int, numbers))


def place_name(place: Region) -> str:
    """Return a place as it is typed: LEFT,TOP,WIDTH,HEIGHT."""
    return ",".join(map(str, place.box))


def named_places(names: str) -> tuple[Region, ...]:
    """Return the places of a label, names with spaces between them; what is none is passed over."""
    boxes = [name.split(",") for name in names.split()]
    return tuple(
        Region.of_box(*map(int, box)) for box in boxes if len(box) == 4 and all(each.isdecimal() for each in box)
    )


def check_places(places: Sequence[Region], size: tuple[int, int]) -> None:
    """Raise InputError for a place that is empty or not within a photo of `size` (height, width)."""
    for place in places:
        empty = min(place.height, place.width) < 1
        if empty or min(place.top, place.left) < 0 or place.bottom > size[0] or place.right > size[1]:
            raise InputError(
                f"protect (={place_name(place)}) must be LEFT,TOP,WIDTH,HEIGHT within its photo of "
                f"{size[1]} x {size[0]} px; count in the photo's own pixels."
            )
