"""Decoding with the LQ photo beside the latent, for methods whose own decoder learned to."""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from sdsr.adapters.guided_decoder import GuidedDecoder
from sdsr.prior.prior import AUTOENCODER, Prior
from sdsr.prior.running import lay_out
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.restorer import Restorer
from sdsr.tensors import Image, Latent, Region

DECODER = "decoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSettings:
    """The shape of a `GuidedDecoder`; without `sees_latent`, the photo is all that it sees."""

    width: int = 64
    blocks: int = 10
    sees_latent: bool = True


class DecodeGuided(nn.Module):
    """latent, enlarged photo and fidelity (a number) -> image; both ends are computed, and mixed."""

    def __init__(self, decoder: GuidedDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latent: Tensor, enlarged: Tensor, fidelity: Tensor) -> Tensor:
        features = self.decoder.features(latent, enlarged)
        added = (1 - fidelity) * self.decoder.detailed(features) + fidelity * self.decoder.faithful(features)
        return enlarged + added


class DecodeDetailed(nn.Module):
    """latent and enlarged photo -> image, by the detailed end alone: what the decoder is at fidelity 0."""

    def __init__(self, decoder: GuidedDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latent: Tensor, enlarged: Tensor) -> Tensor:
        return self.decoder(latent, enlarged)


@dataclass(frozen=True, slots=True)
class GuidedDecoding:
    """Decodes any part of a latent, with as much context around it as the network sees; so parts fit without a seam."""

    decoder: GuidedDecoder
    mixing_bytes_per_px: ClassVar[int] = 12  # what one end painted, in float32, while the other one does

    @property
    def halo_px(self) -> int:
        """Pixels around a decoded one that the network looks at."""
        return self.decoder.halo_px

    def context_px(self, prior: Prior) -> int:
        """Return `halo_px` in whole cells."""
        return self.halo_px + -self.halo_px % prior.factor

    def kernels(self, prior: Prior) -> tuple[int, int]:
        """None: its layers have too few channels for products."""
        return 0, 0

    def as_module(self) -> nn.Module:
        """Return it as a module of tensors alone, which can be exported as a graph."""
        return DecodeGuided(self.decoder)

    def as_detailed_module(self) -> nn.Module:
        """Return it at fidelity 0 as a module of tensors alone."""
        return DecodeDetailed(self.decoder)

    def __call__(self, prior: Prior, clean: Latent, lq_image: LqImage, cells: Region, fidelity: float) -> Image:
        factor = prior.factor
        wide = cells.expand(-(-self.halo_px // factor), within=(clean.shape[-2], clean.shape[-1]))
        enlarged = lq_image.part(wide.scaled(factor)).enlarged().to(clean.device)
        with prior.precision():
            image = self.decoder(clean[wide.slices], enlarged, fidelity)
        return image[cells.relative_to(wide).scaled(factor).slices]


def decoded(restorer: Restorer, settings: DecoderSettings | None) -> Restorer:
    """Return the restorer with a guided decoder of its own, which has learned nothing yet; as it is with None."""
    if settings is None:
        return restorer
    channels = restorer.channels if settings.sees_latent else 0
    decoder = GuidedDecoder(channels, width=settings.width, blocks=settings.blocks)
    lay_out(decoder, restorer.prior.device)
    modules = nn.ModuleDict({**restorer.parts.modules, DECODER: decoder})
    used_with = {**restorer.parts.used_with, DECODER: AUTOENCODER}
    parts = replace(restorer.parts, modules=modules, decoder=GuidedDecoding(decoder), used_with=used_with)
    return replace(restorer, parts=parts)
