"""Contact sheets: photos side by side under their labels, with zoomed crops where wanted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from sdsr.errors import InputError
from sdsr.metrics.planes import Pixels, blurred, plane
from sdsr.photos.depths import eight_bits
from sdsr.tensors import Region

_GAP_PX = 8
_LABEL_PX = 22
_PAPER = (250, 250, 250)
_INK = (20, 20, 20)
_MARK = (230, 30, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A photo and the label below it."""

    photo: Pixels
    label: str = ""


def cropped(photo: Pixels, region: Region) -> Pixels:
    """The region's pixels; InputError where it isn't within the photo."""
    height, width = photo.shape[:2]
    if min(region.top, region.left) < 0 or region.bottom > height or region.right > width or region.height < 1:
        given = f"{region.left},{region.top},{region.height}"
        raise InputError(f"crop (={given}) leaves the photo of {width}x{height} px; choose one inside.")
    return photo[region.rows, region.columns]


def parse_region(text: str) -> Region:
    """The square written as x,y,size in pixels, from the left and from the top."""
    try:
        x, y, size_px = map(int, text.split(","))
    except ValueError as error:
        raise InputError(f"crop (={text}) must be three whole numbers x,y,size; try 64,64,96.") from error
    return Region(top=y, left=x, height=size_px, width=size_px)


def busiest_region(photo: Pixels, size_px: int = 96) -> Region:
    """The square with most high-pass energy, at multiples of 8 px; the same for the same photo."""
    size_px = min(size_px, *photo.shape[:2])
    luma = plane(photo, "luma")
    total = np.pad(((luma - blurred(luma, 1.5)) ** 2).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inner = total[size_px:, size_px:] - total[:-size_px, size_px:] - total[size_px:, :-size_px]
    energy = (inner + total[:-size_px, :-size_px])[::8, ::8]
    row, column = np.unravel_index(energy.argmax(), energy.shape)
    return Region(top=int(row) * 8, left=int(column) * 8, height=size_px, width=size_px)


def contact_sheet(
    columns: Mapping[str, Sequence[Pixels]],
    *,
    names: Sequence[str] = (),
    regions: Sequence[Region] = (),
    cell_px: int = 256,
) -> PillowImage.Image:
    """One column for each label, one row for each photo, its name below it; all columns are of one length.

    With `regions`, one for each row, a second row shows that region enlarged, and the photo above is marked with it.
    """
    cells: list[list[Cell]] = []
    for index, photos in enumerate(zip(*columns.values(), strict=True)):
        name = names[index] if names else ""
        captions = [f"{label}  {name}".strip() for label in columns]
        if regions:
            cells.append([Cell(photo=_marked(photo, regions[index])) for photo in photos])
            photos = [cropped(photo, regions[index]) for photo in photos]
        cells.append([Cell(photo=photo, label=caption) for photo, caption in zip(photos, captions, strict=True)])
    return tiled(cells, cell_px)


def grid_of(cells: Sequence[Cell], cell_px: int = 256) -> PillowImage.Image:
    """The cells in reading order, about as many across as down."""
    across = max(1, math.ceil(math.sqrt(len(cells))))
    return tiled([cells[start : start + across] for start in range(0, len(cells), across)], cell_px)


def tiled(rows: Sequence[Sequence[Cell]], cell_px: int = 256) -> PillowImage.Image:
    """The rows of cells on one sheet; each photo is fitted into a square of `cell_px`, its label below.

    A row is as high as its highest photo.
    """
    if not rows:
        raise InputError("a contact sheet of no photos (=0) was asked for; give at least one.")
    fitted = [[_fitted(cell.photo, cell_px) for cell in row] for row in rows]
    heights = [max(photo.height for photo in photos) for photos in fitted]
    labels = [_LABEL_PX if any(cell.label for cell in row) else 0 for row in rows]
    width = max(map(len, rows)) * (cell_px + _GAP_PX) + _GAP_PX
    sheet = PillowImage.new("RGB", (width, sum(heights) + sum(labels) + _GAP_PX * (len(rows) + 1)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _GAP_PX
    for row, photos, height, label in zip(rows, fitted, heights, labels, strict=True):
        for column, (cell, photo) in enumerate(zip(row, photos, strict=True)):
            left = _GAP_PX + column * (cell_px + _GAP_PX)
            sheet.paste(photo, (left, top))
            draw.text((left, top + height + 2), _shortened(cell.label, cell_px), fill=_INK, font=_font())
        top += height + label + _GAP_PX
    return sheet


def _marked(photo: Pixels, region: Region) -> Pixels:
    cropped(photo, region)
    image = PillowImage.fromarray(eight_bits(photo))
    corners = (region.left, region.top, region.right - 1, region.bottom - 1)
    ImageDraw.Draw(image).rectangle(corners, outline=_MARK, width=max(2, min(photo.shape[:2]) // 170))
    return np.asarray(image)


def _fitted(photo: Pixels, cell_px: int) -> PillowImage.Image:
    """The photo at its largest within the cell: enlarged by whole pixels' copies, reduced by area averages."""
    image = PillowImage.fromarray(eight_bits(photo))
    factor = cell_px / max(image.size)
    size = tuple(max(1, round(side * factor)) for side in image.size)
    resampling = PillowImage.Resampling.NEAREST if factor > 1 else PillowImage.Resampling.BOX
    return image.resize((size[0], size[1]), resampling)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=14)


def _shortened(text: str, width_px: int) -> str:
    """The text cut to the cell's width, its end marked by an ellipsis."""
    font = _font()
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "...") > width_px:
        text = text[:-1]
    return text + "..."
