"""The LQ image: as it is in the file, and as any part of the canvas it is enlarged to."""

from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np

from sdsr.array_api import take
from sdsr.images.resize import resample
from sdsr.restoration.canvas import Canvas, Layout, Mirroring, Resizing, grown
from sdsr.tensors import Float, Image, Region, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LqImage(Layout):
    """The `pixels` of an LQ photo, laid out on the canvas of its restoration, of which this may be only a part.

    They are as after what the layout does `first`. Beyond the enlarged photo, before and after, the canvas mirrors it,
    again and again if need be.
    """

    pixels: Image
    decoded: ClassVar[bool] = False

    @classmethod
    def of(cls, pixels: Image, size: tuple[int, int], multiple: int) -> "LqImage":
        """Return the photo on a canvas that is the result, grown at the bottom and right to multiples of `multiple`.

        It is at least `LEAST_MULTIPLES` of them.
        """
        height, width = (grown(side, multiple) for side in size)
        return cls(pixels=pixels, size=size, multiple=multiple, region=Region.whole(height, width))

    @classmethod
    def on(cls, canvas: Canvas, pixels: Image, size: tuple[int, int], multiple: int) -> "LqImage":
        """Return the photo on the canvas that a method has for a result of `size` (height, width)."""
        height, width = pixels.shape[-2:]
        layout = canvas.layout((height, width), size, multiple)
        facts = {each.name: getattr(layout, each.name) for each in fields(layout)}
        return cls(pixels=_prepared(pixels, layout), **facts)

    @property
    def made(self) -> Region:
        """The place of the result on the canvas."""
        return self.result or Region.whole(*self.size)

    @property
    def final_size(self) -> tuple[int, int]:
        """The (height, width) of the result in the end."""
        return self.wanted or self.made.size

    def part(self, region: Region) -> "LqImage":
        """Return what of the photo belongs to a region of this part (in pixels, relative to it)."""
        shifted = replace(region, top=region.top + self.region.top, left=region.left + self.region.left)
        return replace(self, region=shifted)

    def placed(self, region: Region) -> "LqImage":
        """Return the part of the canvas at a place that is counted as this one's is."""
        return replace(self, region=region)

    def enlarged(self) -> Image:
        """Return the pixels of this part, in [0, 1] where they are clamped."""
        rows, columns = (
            mirrored(lines, length)
            for lines, length in zip((self.region.rows, self.region.columns), self.size, strict=True)
        )
        top = int(rows.min())
        left = int(columns.min())
        inside = Region(top=top, left=left, height=int(rows.max()) - top + 1, width=int(columns.max()) - left + 1)
        image = resample(self.pixels, self.size, inside, kernel=self.kernel)
        if self.clamped:
            image = image.clip(0, 1)
        if inside.size == (len(rows), len(columns)):
            return image
        return take(take(image, rows - top, -2), columns - left, -1)


def _prepared(pixels: Image, layout: Layout) -> Float[Tensor, "b 3 _ _"]:
    """Return what of a photo is enlarged to its canvas."""
    match layout.first:
        case None:
            return pixels
        case Resizing(size=size, kernel=kernel):
            image = resample(pixels, size, kernel=kernel)
            return image.clip(0, 1) if layout.clamped else image
        case Mirroring(rows=rows, columns=columns):
            height, width = pixels.shape[-2:]
            return take(take(pixels, mirrored(rows, height), -2), mirrored(columns, width), -1)


def mirrored(lines: slice, length: int) -> np.ndarray:
    """Return which of `length` lines stand at these places, where lines before and after them mirror them.

    The first and last line are the mirrors, and stand there once.
    """
    places = np.arange(lines.start, lines.stop)
    if length == 1:
        return np.zeros_like(places)
    folded = places % (2 * (length - 1))
    return np.minimum(folded, 2 * (length - 1) - folded)
