"""How the canvas of a restoration is made of a photo: what enlarges it, how large it must be, what is around it.

What the published programs do with photos that are neither square nor of the prior's own size differs from method to
method; it is a value of the recipe.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from sdsr.images.kernels import KEYS, Kernel
from sdsr.images.resize import resample
from sdsr.restoration.photograph import Photograph, grown, mirrored
from sdsr.tensors import Image, Region

MOST_NATIVE_SIDES = 4
"""A result is made larger until its long side is as many native sides; what its short side still lacks is mirrored."""
_CELLS_PX = 4  # of InvSR's predictor: what is made smaller still lies on its pixels

Size = tuple[int, int]
Resized = Float[Tensor, "b 3 _ _"]
Small = Literal["enlarged", "enlarged twice", "photo enlarged first", "mirrored"]


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
    what memory allows; `overlap_px` is what they share, None for a fourth.
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

    def photograph(self, given: Image, size: Size, multiple: int) -> Photograph:
        """Return a photo on the canvas of a result of `size` (height, width), in multiples of the UNet's `multiple`.

        Where one direction is reduced, antialiasing is needed, which no published program has: `KEYS` does that.
        """
        multiple, kernel = self.multiple_px or multiple, self._kernel(given, size)
        if self.small == "mirrored" and self.native_px is not None:
            return self._mirrored(given, size, multiple, kernel)
        made = self.made(size)
        if made != size:
            given, kernel, made = self._first(given, size, made, kernel)
        height, width = (max(grown(side + 2 * self.margin_px, multiple), self._least(multiple)) for side in made)
        region = Region(top=-self.margin_px, left=-self.margin_px, height=height, width=width)
        photograph = Photograph(
            given=given, size=made, multiple=multiple, region=region, kernel=kernel, clamped=self.clamped
        )
        return photograph if made == size else replace(photograph, wanted=size, shrink=self.shrink)

    def made(self, size: Size) -> Size:
        """Return the size at which a result is made."""
        native, short, long = self.native_px, min(size), max(size)
        if native is None or self.small == "mirrored" or short >= native or long >= MOST_NATIVE_SIDES * native:
            return size
        if long <= MOST_NATIVE_SIDES * short:
            side, of = native, short
        else:
            side, of = MOST_NATIVE_SIDES * native, long
        height, width = (-(-each * side // of) if self.round_up else max(1, each * side // of) for each in size)
        return height, width

    def _kernel(self, given: Image, size: Size) -> Kernel:
        reduces = any(side < length for side, length in zip(size, given.shape[-2:], strict=True))
        return KEYS if reduces else self.kernel

    def _first(self, given: Image, size: Size, made: Size, kernel: Kernel) -> tuple[Resized, Kernel, Size]:
        """Return what is enlarged, by what, and to which size, to make a result of `size` at about the size `made`."""
        if self.small == "enlarged twice":
            return self._clamped(resample(given, size, kernel=kernel)), self.kernel_twice or self.kernel, made
        if self.small == "photo enlarged first":
            lengths = given.shape[-2:]
            first = _each(lambda length, to, side: max(1, length * to // side), lengths, made, size)
            made = _each(lambda to, side, length: round(to * side / length), first, size, lengths)
            return self._clamped(resample(given, first, kernel=self._kernel(given, first))), self.kernel, made
        return given, self._kernel(given, made), made

    def _clamped(self, image: Image) -> Resized:
        return image.clamp(0, 1) if self.clamped else image

    def _mirrored(self, given: Image, size: Size, multiple: int, kernel: Kernel) -> Photograph:
        """Return the photo in the middle of a mirrored canvas, or at its start where the canvas is only filled up."""
        height, width = (max(grown(side, multiple), self._least(multiple)) for side in size)
        scale = _whole_scale(given, size)
        step = scale if scale and not (height % scale or width % scale) else None
        top, left = (
            (least - side) // 2 // (step or _CELLS_PX) * (step or _CELLS_PX) if side < least else 0
            for side, least in zip(size, (self._least(multiple),) * 2, strict=True)
        )
        facts = {"multiple": multiple, "kernel": kernel, "clamped": self.clamped}
        if step is None:
            region = Region(top=-top, left=-left, height=height, width=width)
            return Photograph(given=given, size=size, region=region, **facts)
        rows, columns = (
            mirrored(slice(-before // step, (side - before) // step), length)
            for before, side, length in zip((top, left), (height, width), given.shape[-2:], strict=True)
        )
        given = given[..., rows.to(given.device), :][..., columns.to(given.device)]
        result = Region(top=top, left=left, height=size[0], width=size[1])
        whole = Region.whole(height, width)
        return Photograph(given=given, size=(height, width), region=whole, result=result, **facts)

    def _least(self, multiple: int) -> int:
        """The least side of a canvas."""
        return 0 if self.native_px is None else self.native_px + -self.native_px % multiple


def _each(side: Callable[..., int], *sizes: Sequence[int]) -> Size:
    """Return a size whose sides are computed alike from those of others."""
    height, width = (side(*sides) for sides in zip(*sizes, strict=True))
    return height, width


def _whole_scale(given: Image, size: Size) -> int | None:
    """Return by what whole number a photo is enlarged, None where it is no whole number."""
    scale = size[0] // given.shape[-2]
    return scale if scale and size == (scale * given.shape[-2], scale * given.shape[-1]) else None
