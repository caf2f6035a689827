"""What restores a photo, whatever computes it: the same verbs with torch and without.

`Array` is what a runtime computes with, a torch tensor or another; `Known` is what it knows of a photo before sampling,
which the loop hands back and never looks into. Images are RGB in [0, 1], shape (b, 3, height, width); latents are
scaled, (b, c, h, w).
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.steps import Schedule
from sdsr.prior.posterior import Posterior
from sdsr.region import Region
from sdsr.restoration.lq_image import LqImage

Array = TypeVar("Array")
Known = TypeVar("Known")
Own = TypeVar("Own")


class Restoring(Protocol[Array, Known]):
    """Encode an LQ photo, start, denoise, decode; of a whole canvas, or of one behind windows."""

    @property
    def schedule(self) -> Schedule[Array]: ...

    @property
    def channels(self) -> int:
        """Of a latent."""
        ...

    @property
    def factor(self) -> int:
        """Pixels to a cell of the latent, on each side."""
        ...

    @property
    def tile_px(self) -> int:
        """The side of what is encoded or decoded at once, without the context around it."""
        ...

    def in_tiles(self: Own, tile_px: int) -> Own:
        """Return the same in tiles of this side (a multiple of the factor), itself where they are no smaller."""
        ...

    def encode_lq(self, lq_image: LqImage, prompt: str | None, noise: CanvasNoise) -> Known:
        """Encode the enlarged photo and gather what conditions its restoration."""
        ...

    def start(self, encoded: Known, t: int, noise: CanvasNoise) -> Array:
        """Return the first noisy latent."""
        ...

    def denoise(self, noisy: Array, t: int, encoded: Known, guidance: float = 1.0) -> Array:
        """Return the estimate of the clean latent."""
        ...

    def decode(self, clean: Array, canvas: LqImage, region: Region | None = None, fidelity: float = 0.0) -> Array:
        """Return the pixels of a latent, or of a region of it in pixels, beside the photo on its canvas."""
        ...

    def decode_plainly(self, clean: Array, region: Region | None = None) -> Array:
        """Return the pixels as the prior's own decoder paints them: what conditioners learned to look at."""
        ...

    def refresh(self, encoded: Known, picture: Callable[[Region], Array]) -> Known:
        """Return what is known when a picture is looked at in the photo's place."""
        ...


class Encoded(Protocol):
    """What is known of a part of a canvas, and which part that is."""

    @property
    def lq_image(self) -> LqImage: ...


class RestoringParts(Restoring[Array, Known], Protocol):
    """Of a canvas or a part of it that may be encoded already; `Windowed` restores a large canvas by it."""

    def posterior_of(self, picture: "Callable[[Region], Array]", size: tuple[int, int]) -> Posterior:
        """Return what a picture of `size` (height, width) in pixels is encoded to, in bounded memory."""
        ...

    def encode_posterior(
        self, lq_image: LqImage, posterior: Posterior, prompt: str | None, noise: CanvasNoise
    ) -> Known:
        """Gather what conditions a part of the canvas, of which `posterior` is what was encoded."""
        ...


class RestoringInWindows(Restoring[Array, Known], Protocol):
    """The same over the windows of a canvas."""

    @property
    def window_px(self) -> int: ...

    def windows(self, canvas: tuple[int, int]) -> tuple[Region, ...]:
        """Return the windows of a canvas of (height, width), in pixels."""
        ...
