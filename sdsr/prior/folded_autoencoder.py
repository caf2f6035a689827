"""The second small prior's 8x autoencoder: pixels are folded onto cells, not transformed; its decoder paints.

The first one was a lapped block transform of 32 channels that reconstructed to 48 dB: far better than anything needs,
while a wrong guess of a latent showed as a basis function of 8 x 8 pixels. This one has 16 channels, no path of fixed
functions, and a decoder trained by what features and a discriminator see, on latents with noise. As in the first,
nothing is normalised over the picture, so that windows encode and decode as the whole does.
"""

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from sdsr.prior.painting import SLOPE, Block, End, even
from sdsr.prior.small_autoencoder import FACTOR, Autoencoder
from sdsr.tensors import Image, Latent


class FoldingEncoder(nn.Module):
    """[-1, 1] pixels -> latent: each fold gathers 2 x 2 cells, most of the work is done at H/8."""

    def __init__(self, latent_channels: int, widths: tuple[int, int, int], blocks: int) -> None:
        super().__init__()
        half, quarter, eighth = widths
        self.to_half = nn.Conv2d(3 * 4, half, 3, padding=1)
        self.to_quarter = nn.Conv2d(4 * half, quarter, 3, padding=1)
        self.to_eighth = nn.Conv2d(4 * quarter, eighth, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(eighth) for _ in range(blocks)))
        self.out = nn.Conv2d(eighth, latent_channels, 3, padding=1)

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features at H/2 and H/4."""
        half = self.to_half(F.pixel_unshuffle(pixels, 2))
        return half, self.to_quarter(F.pixel_unshuffle(F.leaky_relu(half, SLOPE), 2))

    def forward(self, pixels: Tensor) -> Tensor:
        _, quarter = self.features(pixels)
        eighth = self.to_eighth(F.pixel_unshuffle(F.leaky_relu(quarter, SLOPE), 2))
        return self.out(F.leaky_relu(self.blocks(eighth), SLOPE)).float()


class PaintingDecoder(nn.Module):
    """Latent -> [-1, 1] pixels: blocks at H/8, then at H/4, then an end that has no grid at first."""

    def __init__(
        self, latent_channels: int, widths: tuple[int, int], blocks: tuple[int, int], ends: tuple[int, int]
    ) -> None:
        super().__init__()
        eighth, quarter = widths
        self.to_eighth = nn.Conv2d(latent_channels, eighth, 3, padding=1)
        self.at_eighth = nn.Sequential(*(Block(eighth) for _ in range(blocks[0])))
        self.to_quarter = nn.Conv2d(eighth, 4 * quarter, 3, padding=1)
        even(self.to_quarter)
        self.at_quarter = nn.Sequential(*(Block(quarter) for _ in range(blocks[1])))
        self.end = End(quarter, ends)

    def forward(self, latent: Tensor) -> Tensor:
        eighth = F.leaky_relu(self.at_eighth(self.to_eighth(latent)), SLOPE)
        return self.end(self.at_quarter(F.pixel_shuffle(self.to_quarter(eighth), 2)))


class FoldedAutoencoder(Autoencoder[FoldingEncoder]):
    """That of the second small prior: `widths` are the encoder's at H/2, H/4 and H/8.

    `decoder_widths` are the decoder's at H/8 and H/4, with so many `decoder_blocks`, and `ends` its end's.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        widths: tuple[int, int, int] = (32, 64, 160),
        blocks: int = 2,
        decoder_widths: tuple[int, int] = (160, 64),
        decoder_blocks: tuple[int, int] = (2, 6),
        ends: tuple[int, int] = (32, 16),
    ) -> None:
        super().__init__()
        self.encoder = FoldingEncoder(latent_channels, widths, blocks)
        self.decoder = PaintingDecoder(latent_channels, decoder_widths, decoder_blocks, ends)
        self.keep_statistics(latent_channels)

    @property
    def halo_px(self) -> int:
        """Pixels of context beyond which an output pixel of `decode` depends on nothing."""
        at_eighth, at_quarter = self.config["decoder_blocks"]
        return FACTOR * (2 + 2 * at_eighth) + 4 * (2 * at_quarter + 1) + 2 * 2 + 2

    @property
    def encoder_halo_px(self) -> int:
        """Pixels of context, around a cell's own, beyond which what `encode` gives for it depends on nothing."""
        return 2 + 4 + FACTOR * (2 * self.config["blocks"] + 2)

    def decode(self, latent: Latent) -> Image:
        """Return the picture of a latent in units of its statistics, which the decoder was trained in."""
        return (self.decoder(latent) + 1) / 2
