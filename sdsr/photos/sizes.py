"""Sizes of results."""

import math

from sdsr.errors import InputError

MAX_SCALE = 16.0


def output_size(
    width: int,
    height: int,
    *,
    scale: float | int | None = None,
    to_width: int | None = None,
    to_height: int | None = None,
    megapixels: float | int | None = None,
) -> tuple[int, int]:
    """Return the (width, height) of the result, wanted by scale, width, height, both of these, or millions of pixels.

    A side is its length times the scale, rounded (halves up), at least 1. Raises InputError if the scale isn't in
    (0, 16], or if a given width and height are off the photo's proportions by more than a pixel.

    >>> output_size(121, 75, scale=2.5), output_size(640, 480, to_width=1000), output_size(200, 50, megapixels=1)
    ((303, 188), (1000, 750), (2000, 500))
    """
    if min(width, height) < 1:
        raise InputError(f"photo (={width} x {height}) is empty; both sides must be at least 1 px.")
    targets = {"scale": scale, "width": to_width, "height": to_height, "megapixels": megapixels}
    given = [name for name, value in targets.items() if value is not None]
    if len(given) != 1 and given != ["width", "height"]:
        wanted = " and ".join(given) or "nothing"
        raise InputError(f"target (={wanted}) must be one: a scale, width, height, width and height, or megapixels.")
    if to_width is not None and to_height is not None:
        return _exact(width, height, to_width, to_height)
    if megapixels is not None:
        factor = math.sqrt(max(megapixels, 0.0) * 1e6 / (width * height))
    elif to_width is not None:
        factor = to_width / width
    elif to_height is not None:
        factor = to_height / height
    else:
        factor = scale or 0.0
    return _scaled(width, height, factor)


def check_scale(scale: float | int) -> None:
    """Raise InputError for a scale that is wrong for every photo."""
    if not 0 < scale <= MAX_SCALE:
        raise InputError(f"scale (={scale:g}) must be above 0 and at most {MAX_SCALE:g}; try 4.")


def _exact(width: int, height: int, to_width: int, to_height: int) -> tuple[int, int]:
    by_width = _scaled(width, height, to_width / width)
    by_height = _scaled(width, height, to_height / height)
    if abs(by_width[1] - to_height) > 1 and abs(by_height[0] - to_width) > 1:
        raise InputError(
            f"width and height (={to_width} x {to_height}) must keep the proportions of {width} x {height} "
            f"to one pixel; give only one of them, or {by_width[0]} x {by_width[1]}."
        )
    return to_width, to_height


def _scaled(width: int, height: int, scale: float | int) -> tuple[int, int]:
    if not 0 < scale <= MAX_SCALE:
        limit = f"{math.floor(width * MAX_SCALE)} x {math.floor(height * MAX_SCALE)}"
        raise InputError(
            f"scale (={scale:g}) must be above 0 and at most {MAX_SCALE:g}; "
            f"the largest result for {width} x {height} is {limit}."
        )
    return max(1, math.floor(width * scale + 0.5)), max(1, math.floor(height * scale + 0.5))
