"""A one-step model restores a photo by its graphs: the verbs of a restorer, on NumPy's arrays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from sdsr.diffusion.noise import CanvasNoise
from sdsr.graphs.description import Description
from sdsr.graphs.sessions import Graph
from sdsr.prior.posterior import Posterior, encode_in_parts
from sdsr.region import Region
from sdsr.restoration.cells import latent_region
from sdsr.restoration.lq_image import LqImage
from sdsr.tensors import Image, Latent


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPart:
    """A part of a canvas and its latent, which is all that a one-step model knows of it."""

    lq_image: LqImage
    latent: Latent


class OneTime:
    """The schedule of a plan of one time, from which no step leads to another."""

    def signal(self, t: int) -> NoReturn:
        raise AssertionError("the only step of a one-step model leads nowhere")

    def sigma(self, t: int) -> NoReturn:
        self.signal(t)

    def noisy(self, clean: Latent, noise: Latent, t: int) -> NoReturn:
        self.signal(t)

    def noise(self, noisy: Latent, clean: Latent, t: int) -> NoReturn:
        self.signal(t)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphRestorer:
    """Restores a photo, or a window of one; it starts with the photo's own latent, and one step is all."""

    graphs: Mapping[str, Graph]
    description: Description

    @property
    def schedule(self) -> "OneTime":
        return OneTime()

    @property
    def channels(self) -> int:
        return self.description.facts.channels

    @property
    def factor(self) -> int:
        return self.description.facts.factor

    @property
    def tile_px(self) -> int:
        return self.description.encode_cells * self.factor

    def in_tiles(self, tile_px: int) -> "GraphRestorer":
        cells = tile_px // self.factor
        if cells >= self.description.encode_cells:
            return self
        return replace(self, description=replace(self.description, encode_cells=cells))

    def posterior_of(self, picture: Callable[[Region], Image], size: tuple[int, int]) -> Posterior:
        """Encode a picture of `size` (height, width) in parts whose context is all that the encoder sees."""
        height, width = size
        return encode_in_parts(
            self._posterior,
            picture,
            (height // self.factor, width // self.factor),
            side=self.description.encode_cells,
            margin=self.description.encode_margin,
            factor=self.factor,
        )

    def encode_lq(self, lq_image: LqImage, prompt: str | None, noise: CanvasNoise) -> EncodedPart:
        return self.encode_posterior(lq_image, self._posterior(lq_image.enlarged()), prompt, noise)

    def encode_posterior(
        self, lq_image: LqImage, posterior: Posterior, prompt: str | None, noise: CanvasNoise
    ) -> EncodedPart:
        return EncodedPart(lq_image=lq_image, latent=posterior.mean)

    def start(self, encoded: EncodedPart, t: int, noise: CanvasNoise) -> Latent:
        return encoded.latent

    def denoise(self, noisy: Latent, t: int, encoded: EncodedPart, guidance: float = 1.0) -> Latent:
        assert t == self.description.time, f"the graph was exported for t = {self.description.time}, not {t}"
        assert guidance == 1.0, "a learned prompt has no negative one beside it"
        return self._run("denoise", noisy=noisy)

    def decode(self, clean: Latent, canvas: LqImage, region: Region | None = None, fidelity: float = 0.0) -> Image:
        """Return the pixels of a latent, or of a region of it (in pixels); its context is all that the decoder sees."""
        cells = Region.whole(*clean.shape[-2:]) if region is None else latent_region(region, self.factor)
        wide = cells.expand(self.description.decode_margin, within=(clean.shape[-2], clean.shape[-1]))
        guide: dict[str, ArrayLike] = {}
        if self.description.guided:
            guide["enlarged"] = canvas.part(wide.scaled(self.factor)).enlarged()
            guide["fidelity"] = np.array(fidelity)
        image = self._run(self.description.decoding(fidelity), latent=clean[wide.slices], **guide)
        return image[cells.relative_to(wide).scaled(self.factor).slices]

    def decode_plainly(self, clean: Latent, region: Region | None = None) -> NoReturn:
        raise AssertionError("nothing is looked at between steps where there is one")

    def refresh(self, encoded: EncodedPart, picture: Callable[[Region], Image]) -> NoReturn:
        raise AssertionError("nothing is renewed between steps where there is one")

    def _posterior(self, image: Image) -> Posterior:
        return Posterior(mean=self._run("encode", image=image))

    def _run(self, graph: str, **arrays: ArrayLike) -> Any:
        """Return a NumPy array, which is what stands for a latent or an image here."""
        return self.graphs[graph](**arrays)
