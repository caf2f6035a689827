"""The photo to restore: as it was given, and as any part of the canvas it is enlarged to."""

from dataclasses import dataclass, replace

import torch.nn.functional as F

from sdsr.images.resize import resample
from sdsr.tensors import Image, Region

LEAST_MULTIPLES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """An LQ photo and the canvas of its restoration, of which this may be only the part `region`.

    `given` is the whole photo as it was given. `size` (height, width) is the size of the result; the canvas is that,
    grown at the bottom and right to multiples of `multiple` pixels (at least `LEAST_MULTIPLES` of them, so that the
    UNet's coarsest maps are no single cell) by repeating the last row and column.
    """

    given: Image
    size: tuple[int, int]
    multiple: int
    region: Region

    @classmethod
    def of(cls, given: Image, size: tuple[int, int], multiple: int) -> "Photograph":
        """Return the photo on its whole canvas."""
        height, width = (max(side + -side % multiple, LEAST_MULTIPLES * multiple) for side in size)
        return cls(given=given, size=size, multiple=multiple, region=Region.whole(height, width))

    def part(self, region: Region) -> "Photograph":
        """Return what of the photo belongs to a region of this part (in pixels, relative to it)."""
        shifted = replace(region, top=region.top + self.region.top, left=region.left + self.region.left)
        return replace(self, region=shifted)

    def enlarged(self) -> Image:
        """Return the pixels of this part, bicubically enlarged, in [0, 1]."""
        height, width = self.size
        top, left = min(self.region.top, height - 1), min(self.region.left, width - 1)
        inside = Region(
            top=top, left=left, height=min(self.region.bottom, height) - top, width=min(self.region.right, width) - left
        )
        image = resample(self.given, self.size, inside).clamp(0, 1)
        missing = (self.region.width - inside.width, self.region.height - inside.height)
        return F.pad(image, (0, missing[0], 0, missing[1]), mode="replicate") if any(missing) else image
