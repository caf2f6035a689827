"""Decoding with StableSR's feature wrapping: a latent to pixels, beside the photo that it was restored from."""

import threading
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from sdsr.adapters.feature_wrapping import FeatureWrapping, noted
from sdsr.prior.group_statistics import Statistics, imposed, mosaic, recorded
from sdsr.prior.prior import Prior
from sdsr.prior.small import SmallLatents
from sdsr.prior.stable_diffusion import WINDOW_CELLS, PublishedLatents
from sdsr.restoration.photograph import Photograph
from sdsr.tensors import Image, Latent, Region

_PATCH_CELLS = 16


@dataclass(frozen=True, slots=True)
class WrappedDecoder:
    """Decodes each part of a latent with the encoder's features of the same part of the enlarged photo.

    So memory is bounded by the part, at the price of encoding it once more. Of a latent of more than `WINDOW_CELLS` a
    side, parts are decoded with context around them and with the statistics of one mosaic of latent and photo, encoder
    and fusion included, so that normalisation makes no step in tone between them.
    """

    wrapping: FeatureWrapping
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _statistics: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary, repr=False)

    def __call__(self, prior: Prior, clean: Latent, photograph: Photograph, cells: Region, fidelity: float) -> Image:
        factor, size = prior.factor, (clean.shape[-2], clean.shape[-1])
        with self._lock:
            if max(size) <= WINDOW_CELLS:
                return self._decoded(prior, clean, photograph.enlarged(), fidelity)[cells.scaled(factor).slices]
            wide = cells.expand(self._margin(prior), within=size)
            with imposed(self._statistics_of(prior, clean, photograph, fidelity)):
                image = photograph.part(wide.scaled(factor)).enlarged()
                decoded = self._decoded(prior, clean[wide.slices], image, fidelity)
            return decoded[cells.relative_to(wide).scaled(factor).slices]

    def _decoded(self, prior: Prior, clean: Latent, image: Image, fidelity: float) -> Image:
        model = _latents(prior).model
        with torch.no_grad(), noted(model) as features:
            prior.encode(image)
        with self.wrapping.fused(model, features, fidelity):
            return prior.decode(clean)

    def _margin(self, prior: Prior) -> int:
        """Cells of context beyond which neither the decoder nor what is fused into it sees anything."""
        return _latents(prior).margin + -(-self.wrapping.halo_px // prior.factor)

    def _statistics_of(self, prior: Prior, clean: Latent, photograph: Photograph, fidelity: float) -> Statistics:
        """The statistics to decode all parts of this latent with, remembered as long as the latent lives."""
        networks = nn.ModuleList((_latents(prior).model, self.wrapping))
        if not any(isinstance(layer, nn.GroupNorm) for layer in networks.modules()):
            return {}
        if clean not in self._statistics:
            self._statistics[clean] = {}
        known = self._statistics[clean]
        if fidelity not in known:
            with torch.no_grad(), recorded(networks) as statistics:
                image = _mosaic_of_photo(photograph, (clean.shape[-2], clean.shape[-1]), prior.factor)
                self._decoded(prior, mosaic(clean, WINDOW_CELLS, _PATCH_CELLS), image, fidelity)
            known[fidelity] = statistics
        return known[fidelity]


def _latents(prior: Prior) -> PublishedLatents | SmallLatents:
    assert isinstance(prior.autoencoder, PublishedLatents | SmallLatents), "features are read from autoencoders we know"
    return prior.autoencoder


def _mosaic_of_photo(photograph: Photograph, size: tuple[int, int], factor: int) -> Image:
    """The patches of the enlarged photo that belong to those of a latent's mosaic."""
    rows, columns = (_runs(length) for length in size)
    lines = []
    for top, height in rows:
        cells = (Region(top=top, left=left, height=height, width=width) for left, width in columns)
        lines.append(torch.cat([photograph.part(each.scaled(factor)).enlarged() for each in cells], dim=-1))
    return torch.cat(lines, dim=-2)


def _runs(length: int) -> list[tuple[int, int]]:
    """First cell and number of cells of each patch of a mosaic along a side."""
    places = torch.arange(length, dtype=torch.float32).view(1, 1, 1, length)
    chosen = mosaic(places, WINDOW_CELLS, _PATCH_CELLS).flatten().long()
    if len(chosen) == length:
        return [(0, length)]
    return [(int(first), _PATCH_CELLS) for first in chosen[::_PATCH_CELLS]]
