"""How the canvas of a restoration is made of a photo: what enlarges it, how large it must be, what is around it.

What the published programs do with photos that are neither square nor of the prior's own size differs from method to
method; it is a value of the recipe.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from sdsr.images.kernels import KEYS, Kernel
from sdsr.region import Region

MOST_NATIVE_SIDES = 4
"""A result is made larger until its long side is as many native sides; what its short side still lacks is mirrored."""
LEAST_MULTIPLES = 4
"""A canvas is at least as many multiples, so that the UNet's coarsest features are no single cell."""
_CELLS_PX = 4  # of InvSR's predictor: what is made smaller still lies on its pixels

Size = tuple[int, int]
Small = Literal["enlarged", "enlarged twice", "photo enlarged first", "mirrored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resizing:
    """A photo's resampling to a size, (height, width), before it is enlarged to its canvas."""

    size: Size
    kernel: Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirroring:
    """The rows and columns of a photo that are taken before it is enlarged; those beyond its border mirror it."""

    rows: slice
    columns: slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a photo lies on the canvas of its result; an `LqImage` has the pixels, too.

    The photo, after what is done `first`, is enlarged by `kernel` to `size` (height, width), clamped to [0, 1] if
    `clamped`. Places are counted from the first pixel of that; `region` is the canvas, whose sides are multiples of
    `multiple`. `result` is what it is made for, None for all of the enlarged photo; it is resampled by `shrink` to
    `wanted`, None if it has its size.
    """

    size: Size
    multiple: int
    region: Region
    kernel: Kernel = KEYS
    clamped: bool = True
    first: Resizing | Mirroring | None = None
    result: Region | None = None
    wanted: Size | None = None
    shrink: Kernel = KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """How a method's canvases are made, and the windows that they are restored in.

    `kernel` enlarges the photo, and the result is `clamped` to [0, 1]. `margin_px` is context that mirrors the photo,
    on each side; it is cut off again, like what fills the canvas up to multiples of `multiple_px` (None: the UNet's).

    `native_px` is the side of the squares that the prior was trained on, None where any size will do: no side of the
    canvas is shorter, and no window smaller. Results with a shorter side are, by `small`,

    - "enlarged": made at that size and reduced by `shrink`, or so
      - "enlarged twice": the photo is enlarged to the result, and that by `kernel_twice`;
      - "photo enlarged first": the photo is enlarged, and that by the scale that was wanted;
    - "mirrored": made as they are, in the middle of a canvas that mirrors the photo; where the photo is enlarged by a
      whole number, it is mirrored first.

    `round_up` says how the longer side is rounded. `window_px` is the side of all windows of a larger canvas, None for
    what memory allows; `overlap_px` is what they share, None for a fourth. `context_px`: how far around a pixel the
    autoencoder, and a decoder of the method's own, look at most; None where they look at everything.
    """

    kernel: Kernel = KEYS
    clamped: bool = True
    margin_px: int = 0
    multiple_px: int | None = None
    native_px: int | None = None
    small: Small = "enlarged"
    kernel_twice: Kernel | None = None
    shrink: Kernel = KEYS
    round_up: bool = False
    window_px: int | None = None
    overlap_px: int | None = None
    context_px: int | None = None

    def layout(self, photo: Size, size: Size, multiple: int) -> Layout:
        """Return where a photo of a size lies on the canvas of a result of `size`, in multiples of the UNet's own.

        Where one direction is reduced, antialiasing is needed, which no published program has: `KEYS` does that.
        """
        multiple = self.multiple_px or multiple
        if self.small == "mirrored" and self.native_px is not None:
            return self._mirrored(photo, size, multiple)
        kernel = self._kernel(photo, size)
        made = self.made(size)
        first: Resizing | None = None
        if made != size:
            first, kernel, made = self._first(photo, size, made, kernel)
        height, width = (max(grown(side + 2 * self.margin_px, multiple), self._least(multiple)) for side in made)
        shrunk = made != size
        return Layout(
            size=made,
            multiple=multiple,
            region=Region(top=-self.margin_px, left=-self.margin_px, height=height, width=width),
            kernel=kernel,
            clamped=self.clamped,
            first=first,
            wanted=size if shrunk else None,
            shrink=self.shrink if shrunk else KEYS,
        )

    def made(self, size: Size) -> Size:
        """Return the size at which a result is made."""
        native = self.native_px
        short = min(size)
        long = max(size)
        if native is None or self.small == "mirrored" or short >= native or long >= MOST_NATIVE_SIDES * native:
            return size
        if long <= MOST_NATIVE_SIDES * short:
            side = native
            of = short
        else:
            side = MOST_NATIVE_SIDES * native
            of = long
        height, width = (-(-each * side // of) if self.round_up else max(1, each * side // of) for each in size)
        return height, width

    def _kernel(self, photo: Size, size: Size) -> Kernel:
        reduces = any(side < length for side, length in zip(size, photo, strict=True))
        return KEYS if reduces else self.kernel

    def _first(self, photo: Size, size: Size, made: Size, kernel: Kernel) -> tuple[Resizing | None, Kernel, Size]:
        """Return what is done first, what enlarges that, and to which size: about `made`."""
        if self.small == "enlarged twice":
            return Resizing(size=size, kernel=kernel), self.kernel_twice or self.kernel, made
        if self.small == "photo enlarged first":
            first = _each(lambda length, to, side: max(1, length * to // side), photo, made, size)
            made = _each(lambda to, side, length: round(to * side / length), first, size, photo)
            return Resizing(size=first, kernel=self._kernel(photo, first)), self.kernel, made
        return None, self._kernel(photo, made), made

    def _mirrored(self, photo: Size, size: Size, multiple: int) -> Layout:
        """Return the photo in the middle of a mirrored canvas, or at its start where the canvas is only filled up."""
        kernel = self._kernel(photo, size)
        height, width = (max(grown(side, multiple), self._least(multiple)) for side in size)
        scale = _whole_scale(photo, size)
        step = scale if scale and not (height % scale or width % scale) else None
        top, left = (
            (least - side) // 2 // (step or _CELLS_PX) * (step or _CELLS_PX) if side < least else 0
            for side, least in zip(size, (self._least(multiple),) * 2, strict=True)
        )
        if step is None:
            region = Region(top=-top, left=-left, height=height, width=width)
            return Layout(size=size, multiple=multiple, region=region, kernel=kernel, clamped=self.clamped)
        rows, columns = (
            slice(-before // step, (side - before) // step)
            for before, side in zip((top, left), (height, width), strict=True)
        )
        return Layout(
            size=(height, width),
            multiple=multiple,
            region=Region.whole(height, width),
            kernel=kernel,
            clamped=self.clamped,
            first=Mirroring(rows=rows, columns=columns),
            result=Region(top=top, left=left, height=size[0], width=size[1]),
        )

    def _least(self, multiple: int) -> int:
        """The least side of a canvas."""
        return 0 if self.native_px is None else self.native_px + -self.native_px % multiple


def _each(side: Callable[..., int], *sizes: Sequence[int]) -> Size:
    """Return a size whose sides are computed alike from those of others."""
    height, width = (side(*sides) for sides in zip(*sizes, strict=True))
    return height, width


def _whole_scale(photo: Size, size: Size) -> int | None:
    """Return by what whole number a photo is enlarged, None where it is no whole number."""
    scale = size[0] // photo[0]
    return scale if scale and size == (scale * photo[0], scale * photo[1]) else None


def grown(side: int, multiple: int) -> int:
    """Return the side of a canvas for `side` pixels."""
    return max(side + -side % multiple, LEAST_MULTIPLES * multiple)
