"""What a diffusion UNet sees in photos as a discriminator: its features at several times (arXiv:2410.04224)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image as PillowImage
from torch import Tensor

from sdsr.diffusion.noise import CanvasNoise
from sdsr.discriminators.diffusion_unet import down_and_mid, unconditional
from sdsr.images.floats import image
from sdsr.metrics.planes import Pixels
from sdsr.metrics.sheet import Cell, tiled
from sdsr.photos.photo import Photo
from sdsr.prior.prior import Prior
from sdsr.tensors import Float, Latent, Region

TIMES = (49, 249, 499, 749, 949)
_COLORS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """At which times, and at which of the outputs of down blocks and middle: -1 is the middle's."""

    times: tuple[int, ...] = TIMES
    level: int = -1
    seed: int = 0


def latents_of(prior: Prior, photos: Mapping[str, Photo], side_px: int) -> dict[str, Latent]:
    """Return the latents of the photos' middle squares."""
    return {label: prior.encode(_middle(image(photo), side_px, prior.factor)).cpu() for label, photo in photos.items()}


def features(unet: UNet2DConditionModel, prior: Prior, latents: Sequence[Latent], look: Look) -> list[Tensor]:
    """Return (photos, channels, h, w) for each time; all photos get the same noise, as a pair does in training."""
    clean = torch.cat(list(latents)).to(prior.device)
    cells = Region.whole(*clean.shape[-2:])
    noise = CanvasNoise(seeds=(look.seed,)).at("critic", 0, cells, prior.channels).to(clean)
    found = []
    for time in look.times:
        t = torch.full((len(clean),), time)
        noisy = prior.schedule.noisy(clean, noise.expand_as(clean), t)
        context, added = unconditional(unet, len(clean), clean)
        with torch.no_grad(), prior.precision():
            found.append(down_and_mid(unet, noisy, t.to(clean.device), context, added)[look.level].float().cpu())
    return found


def sheet(
    photos: Mapping[str, Photo], seen: Mapping[str, Sequence[Tensor]], look: Look, *, side_px: int, factor: int
) -> PillowImage.Image:
    """One row for each photo and discriminator: the photo, then its features' main components at each time as colors.

    Components are common to all photos of one discriminator and time, so colors can be compared down a column.
    """
    rows = []
    for discriminator, by_time in seen.items():
        colored = [in_colors(maps) for maps in by_time]
        for index, (label, photo) in enumerate(photos.items()):
            crop = _middle(image(photo), side_px, factor)
            cells = [Cell(photo=_pixels(crop[0].permute(1, 2, 0)), label=f"{label}  {discriminator}")]
            cells += [
                Cell(photo=_pixels(colors[index]), label=f"t = {time}")
                for time, colors in zip(look.times, colored, strict=True)
            ]
            rows.append(cells)
    return tiled(rows)


def in_colors(maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w 3"]:
    """Return the three main components of feature vectors, each stretched from its 2nd to its 98th percentile."""
    vectors = maps.movedim(1, -1).flatten(0, 2)
    vectors = vectors - vectors.mean(0)
    _, _, axes = torch.linalg.svd(vectors, full_matrices=False)
    axes = axes[:_COLORS]
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    shares = vectors @ axes.T
    low, high = (shares.quantile(q, dim=0) for q in (0.02, 0.98))
    stretched = ((shares - low) / (high - low).clamp(min=1e-8)).clamp(0, 1)
    return stretched.unflatten(0, (maps.shape[0], *maps.shape[-2:]))


def _middle(photo: Tensor, side_px: int, factor: int) -> Tensor:
    height, width = (min(side, side_px) // (4 * factor) * (4 * factor) for side in photo.shape[-2:])
    return photo[Region.middle((photo.shape[-2], photo.shape[-1]), (height, width)).slices]


def _pixels(values: Float[Tensor, "h w 3"]) -> Pixels:
    return (255 * values.clamp(0, 1)).round().numpy().astype(np.uint8)
