"""A rectangle of a canvas; it knows no torch, so that windows can be planned without."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import EllipsisType


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A rectangle of a canvas, in the canvas's cells; rows grow downward."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def whole(cls, height: int, width: int) -> "Region":
        """Return the region that is the canvas."""
        return Region(top=0, left=0, height=height, width=width)

    @classmethod
    def of_box(cls, left: int, top: int, width: int, height: int) -> "Region":
        """Return the region of these numbers, in the order in which people say them."""
        return cls(top=top, left=left, height=height, width=width)

    @classmethod
    def middle(cls, size: tuple[int, int], at_most: tuple[int, int]) -> "Region":
        """Return the middle of a canvas of `size` (height, width), `at_most` so high and wide."""
        height, width = map(min, size, at_most)
        return Region(top=(size[0] - height) // 2, left=(size[1] - width) // 2, height=height, width=width)

    @classmethod
    def grid(cls, size: tuple[int, int], height: int, width: int) -> Iterator["Region"]:
        """Yield the parts of a canvas of `size`, so high and wide or as much as is left, row by row."""
        for top in range(0, size[0], height):
            for left in range(0, size[1], width):
                yield cls(top=top, left=left, height=min(height, size[0] - top), width=min(width, size[1] - left))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.height, self.width

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, width, height)"""
        return self.left, self.top, self.width, self.height

    @property
    def bottom(self) -> int:
        """The first row below."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The first column to the right."""
        return self.left + self.width

    @property
    def rows(self) -> slice:
        """The rows it covers."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """The columns it covers."""
        return slice(self.left, self.right)

    @property
    def slices(self) -> tuple[EllipsisType, slice, slice]:
        """The index that cuts this region from a tensor: `image[region.slices]`."""
        return ..., self.rows, self.columns

    def scaled(self, factor: int) -> "Region":
        """Return the same rectangle on a canvas `factor` times finer."""
        return Region(
            top=self.top * factor, left=self.left * factor, height=self.height * factor, width=self.width * factor
        )

    def expand(self, margin: int, *, within: tuple[int, int]) -> "Region":
        """Return this region with `margin` more cells on each side, as far as a canvas of (height, width) goes."""
        top = max(self.top - margin, 0)
        left = max(self.left - margin, 0)
        bottom = min(self.bottom + margin, within[0])
        right = min(self.right + margin, within[1])
        return Region(top=top, left=left, height=bottom - top, width=right - left)

    def relative_to(self, outer: "Region") -> "Region":
        """Return this region in the coordinates of another, most often one that contains it."""
        return Region(top=self.top - outer.top, left=self.left - outer.left, height=self.height, width=self.width)
