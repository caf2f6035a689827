"""Aggregation sampling: the four verbs over overlapping windows, for a canvas of any size in bounded memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.steps import Schedule
from sdsr.images.windows import Weight, blend, cover, tapered_weight
from sdsr.prior.posterior import Picture, Posterior
from sdsr.restoration.cells import latent_region
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.protocol import Encoded, RestoringParts
from sdsr.restoration.tiles import OnNote, in_smaller_tiles
from sdsr.tensors import Image, Latent, Region

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Windowed:
    """Restores a photo window by window, and blends the *clean* estimates of the windows at every step.

    StableSR (arXiv:2305.07015, Sec. 3.4). Deviation: it blends noise predictions; with one step rule for the whole
    canvas this is the same but for the times' own scale, and clean estimates can be shown and corrected.
    `window_px` and `overlap_px` are multiples of the canvas's own multiple. `weight(height, width)` weighs the cells of
    a window. `on_window` is called after each window of `encode_lq` and `denoise`. `around_px` (top, left, bottom,
    right): what more is encoded on each side of the canvas, where it is a part of a larger one. `on_note` is told where
    memory ran out and what was done.
    """

    restorer: RestoringParts[Any, Any]
    window_px: int
    overlap_px: int
    on_window: Callable[[], None] | None = None
    weight: Weight = tapered_weight
    around_px: tuple[int, int, int, int] = (0, 0, 0, 0)
    on_note: OnNote | None = None

    @property
    def tile_px(self) -> int:
        return self.restorer.tile_px

    def in_tiles(self, tile_px: int) -> "Windowed":
        restorer = self.restorer.in_tiles(tile_px)
        return self if restorer is self.restorer else replace(self, restorer=restorer)

    @property
    def schedule(self) -> Schedule[Any]:
        return self.restorer.schedule

    @property
    def channels(self) -> int:
        return self.restorer.channels

    @property
    def factor(self) -> int:
        return self.restorer.factor

    def windows(self, canvas: tuple[int, int]) -> tuple[Region, ...]:
        """Return the windows of a canvas of (height, width), in pixels."""
        return cover(*canvas, window=self.window_px, overlap=self.overlap_px)

    def encode_lq(self, lq_image: LqImage, prompt: str | None, noise: CanvasNoise) -> list[Encoded]:
        """Encode the canvas once, and condition each window."""
        posterior = self._posterior(lq_image)

        def encoded(window: Region) -> Encoded:
            part = posterior.part(latent_region(window, self.factor))
            return self.restorer.encode_posterior(lq_image.part(window), part, prompt, noise)

        return list(self._counted(encoded(window) for window in self.windows(lq_image.region.size)))

    def _posterior(self, lq_image: LqImage) -> Posterior:
        """Encode the canvas, and look at what is around it."""
        top, left, bottom, right = self.around_px
        canvas = Region.whole(*lq_image.region.size)
        size = canvas.height + top + bottom, canvas.width + left + right

        def picture(region: Region) -> Image:
            return lq_image.part(replace(region, top=region.top - top, left=region.left - left)).enlarged()

        def encoded(restorer: RestoringParts[Any, Any]) -> Iterator[Posterior]:
            yield restorer.posterior_of(picture, size)

        (wide,) = in_smaller_tiles(self.restorer, encoded, self.on_note)
        return wide.part(latent_region(replace(canvas, top=top, left=left), self.factor))

    def start(self, encoded: list[Encoded], t: int, noise: CanvasNoise) -> Latent:
        return self._blended(encoded, (self.restorer.start(one, t, noise) for one in encoded))

    def denoise(self, noisy: Latent, t: int, encoded: list[Encoded], guidance: float = 1.0) -> Latent:
        cells = self._cells(encoded)
        parts = (
            self.restorer.denoise(noisy[place.slices], t, one, guidance)
            for place, one in zip(cells, encoded, strict=True)
        )
        return self._blended(encoded, self._counted(parts))

    def refresh(self, encoded: list[Encoded], picture: Picture) -> list[Encoded]:
        return [self.restorer.refresh(one, picture) for one in encoded]

    def decode(self, clean: Latent, canvas: LqImage, region: Region | None = None, fidelity: float = 0.0) -> Image:
        return self.restorer.decode(clean, canvas, region, fidelity)

    def decode_plainly(self, clean: Latent, region: Region | None = None) -> Image:
        return self.restorer.decode_plainly(clean, region)

    def _cells(self, encoded: list[Encoded]) -> list[Region]:
        """The windows' places on the canvas's latent; the first window begins where the canvas does."""
        first = encoded[0].lq_image.region
        return [latent_region(one.lq_image.region.relative_to(first), self.factor) for one in encoded]

    def _blended(self, encoded: list[Encoded], parts: Iterable[Latent]) -> Latent:
        cells = self._cells(encoded)
        size = max(cell.bottom for cell in cells), max(cell.right for cell in cells)
        return blend(zip(cells, parts, strict=True), size, weight=self.weight)

    def _counted(self, values: Iterable[T]) -> Iterator[T]:
        for value in values:
            yield value
            if self.on_window is not None:
                self.on_window()
