"""A light patch discriminator on images, for fine detail at small scale."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sdsr.losses.filters import high_pass
from sdsr.losses.light_trunk import Halve
from sdsr.losses.trunks import outputs_of
from sdsr.tensors import Image

WIDTHS = (16, 48, 96, 128)  # channels at H, H/2, H/4, H/8


class PatchDiscriminator(nn.Module):
    """Logits per place at H/2, H/4 and H/8, high for real, of images in [0, 1], after pix2pix (arXiv:1611.07004).

    Convolutions are spectrally normalised (arXiv:1802.05957) and the size is halved after a blur, so that what the
    generator learns from it has no grid. `sees="detail"` shows only what a Gaussian of 1.5 px removes, so that it can't
    judge colors. 0.4 M parameters, 0.35 GMAC per 128x128.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, *, sees: Literal["image", "detail"] = "image") -> None:
        super().__init__()
        self.sees = sees
        self.stages = nn.ModuleList()
        self.heads = nn.ModuleList()
        for before, width in zip((3, *widths), widths, strict=False):
            stage = nn.Sequential() if before == 3 else nn.Sequential(Halve())
            for channels in (before, width):
                stage.append(spectral_norm(nn.Conv2d(channels, width, 3, padding=1)))
                stage.append(nn.LeakyReLU(0.2))
            self.stages.append(stage)
            if before != 3:
                self.heads.append(spectral_norm(nn.Conv2d(width, 1, 1)))

    def forward(self, image: Image) -> list[Tensor]:
        x = 4 * high_pass(image) if self.sees == "detail" else 2 * image - 1
        features = outputs_of(self.stages, x)
        return [head(feature) for head, feature in zip(self.heads, features[1:], strict=True)]
