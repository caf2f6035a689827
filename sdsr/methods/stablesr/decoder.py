"""Decoding with StableSR's feature wrapping (arXiv:2305.07015): a latent to pixels, beside the photo it was made of."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import nn

from sdsr.methods.stablesr.feature_wrapping import FeatureWrapping, noted
from sdsr.prior.group_statistics import Statistics, imposed, mosaic, mosaic_of_picture, recorded
from sdsr.prior.notes import OwnLock, TensorNotes
from sdsr.prior.prior import Prior
from sdsr.prior.small import SmallLatents
from sdsr.prior.stable_diffusion import PublishedLatents
from sdsr.restoration.lq_image import LqImage
from sdsr.tensors import Image, Latent, Region


@dataclass(frozen=True, slots=True)
class WrappedDecoder:
    """Decodes each part of a latent with the encoder's features of the same part of the enlarged photo.

    With `fidelity` 0 it is the prior's own decoder.

    So memory is bounded by the part, at the price of encoding it once more. Of a latent of more than a tile a
    side, parts are decoded with context around them and with the statistics of one mosaic of latent and photo, encoder
    and fusion included, so that normalisation makes no step in tone between them.
    """

    wrapping: FeatureWrapping
    mixing_bytes_per_px: ClassVar[int] = 0
    _lock: OwnLock = field(default_factory=OwnLock, repr=False)
    _statistics: TensorNotes = field(default_factory=TensorNotes, repr=False)

    def __call__(self, prior: Prior, clean: Latent, lq_image: LqImage, cells: Region, fidelity: float) -> Image:
        factor = prior.factor
        size = (clean.shape[-2], clean.shape[-1])
        if not fidelity:
            return prior.decode_part(clean, cells)
        with self._lock:
            if max(size) <= prior.autoencoder.tile_cells:
                return self._decoded(prior, clean, lq_image.enlarged(), fidelity)[cells.scaled(factor).slices]
            wide = cells.expand(self._margin(prior), within=size)
            with imposed(self._statistics_of(prior, clean, lq_image, fidelity)):
                image = lq_image.part(wide.scaled(factor)).enlarged()
                decoded = self._decoded(prior, clean[wide.slices], image, fidelity)
            return decoded[cells.relative_to(wide).scaled(factor).slices]

    def context_px(self, prior: Prior) -> int:
        """Return how many pixels around a part are decoded with it."""
        return self._margin(prior) * prior.factor

    def kernels(self, prior: Prior) -> tuple[int, int]:
        """Return the prior's own."""
        return prior.autoencoder.kernels

    def _decoded(self, prior: Prior, clean: Latent, image: Image, fidelity: float) -> Image:
        model = _latents(prior).model
        with torch.no_grad(), noted(model) as features:
            prior.encode(image)
        with self.wrapping.fused(model, features, fidelity):
            return prior.decode(clean)

    def _margin(self, prior: Prior) -> int:
        """Cells of context beyond which neither the decoder nor what is fused into it sees anything."""
        return _latents(prior).margin + -(-self.wrapping.halo_px // prior.factor)

    def _statistics_of(self, prior: Prior, clean: Latent, lq_image: LqImage, fidelity: float) -> Statistics:
        """The statistics to decode all parts of this latent with, remembered as long as the latent lives."""
        networks = nn.ModuleList((_latents(prior).model, self.wrapping))
        if not any(isinstance(layer, nn.GroupNorm) for layer in networks.modules()):
            return {}
        if clean not in self._statistics:
            self._statistics[clean] = {}
        known = self._statistics[clean]
        asked = fidelity, prior.autoencoder.tile_cells
        if asked not in known:
            with torch.no_grad(), recorded(networks) as statistics:
                size = clean.shape[-2], clean.shape[-1]
                side = prior.autoencoder.tile_cells
                image = mosaic_of_picture(lambda region: lq_image.part(region).enlarged(), size, side, prior.factor)
                self._decoded(prior, mosaic(clean, side), image, fidelity)
            known[asked] = statistics
        return known[asked]


def _latents(prior: Prior) -> PublishedLatents | SmallLatents:
    assert isinstance(prior.autoencoder, PublishedLatents | SmallLatents), "features are read from autoencoders we know"
    return prior.autoencoder
