"""What an encoder makes of a picture, and how a large one is encoded and decoded in parts; knows no torch."""

from collections.abc import Callable
from dataclasses import dataclass

from sdsr.array_api import like, zeros
from sdsr.tensors import Image, Latent, Region

Picture = Callable[[Region], Image]
"""The pixels of any region of a canvas, whose sides lie on the latent's cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """What an encoder makes of an image: the mean of its scaled latents and their deviation, None where it has none."""

    mean: Latent
    std: Latent | None = None

    def latent(self, noise: Latent | None = None) -> Latent:
        """Return the mode, or a sample where `noise` is given and there is a deviation."""
        return self.mean if noise is None or self.std is None else self.mean + self.std * like(noise, self.std)

    def part(self, cells: Region) -> "Posterior":
        """Return what belongs to these cells."""
        return Posterior(mean=self.mean[cells.slices], std=None if self.std is None else self.std[cells.slices])


def decode_around(
    decode: Callable[[Latent], Image], latent: Latent, cells: Region, *, margin: int, factor: int
) -> Image:
    """Return the pixels of these cells, decoded with `margin` cells of context on each side where there are any."""
    wide = cells.expand(margin, within=(latent.shape[-2], latent.shape[-1]))
    return decode(latent[wide.slices])[cells.relative_to(wide).scaled(factor).slices]


def encode_in_parts(
    encode: Callable[[Image], Posterior],
    picture: Picture,
    size: tuple[int, int],
    *,
    side: int,
    margin: int,
    factor: int,
) -> Posterior:
    """Return the posterior of a picture of `size` in cells, encoded in parts of `side` cells.

    Each part has `margin` cells of context on each side where there are any.
    """
    mean = std = None
    for cells in Region.grid(size, side, side):
        wide = cells.expand(margin, within=size)
        part = encode(picture(wide.scaled(factor))).part(cells.relative_to(wide))
        if mean is None:
            mean = zeros((*part.mean.shape[:2], *size), part.mean)
            std = None if part.std is None else zeros(mean.shape, mean)
        mean[cells.slices] = part.mean
        if std is not None and part.std is not None:
            std[cells.slices] = part.std
    assert mean is not None, "a picture has cells"
    return Posterior(mean=mean, std=std)
