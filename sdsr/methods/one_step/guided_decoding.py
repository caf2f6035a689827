"""Decoding with the LQ photo beside the latent, for methods whose own decoder learned to."""

from dataclasses import dataclass

from sdsr.methods.one_step.guided_decoder import GuidedDecoder
from sdsr.prior.prior import Prior
from sdsr.restoration.lq_image import LqImage
from sdsr.tensors import Image, Latent, Region


@dataclass(frozen=True, slots=True)
class GuidedDecoding:
    """Decodes any part of a latent, with as much context around it as the network sees; so parts fit without a seam."""

    decoder: GuidedDecoder

    def __call__(self, prior: Prior, clean: Latent, lq_image: LqImage, cells: Region, fidelity: float) -> Image:
        factor = prior.factor
        wide = cells.expand(-(-self.decoder.halo_px // factor), within=(clean.shape[-2], clean.shape[-1]))
        enlarged = lq_image.part(wide.scaled(factor)).enlarged().to(clean.device)
        with prior.precision():
            image = self.decoder(clean[wide.slices], enlarged, fidelity)
        return image[cells.relative_to(wide).scaled(factor).slices]
