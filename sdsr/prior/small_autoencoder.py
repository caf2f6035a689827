"""The embedded prior's 8x autoencoder: convolutions without normalisation, so that windows decode like the whole.

Nothing in it looks at the whole picture: every output pixel depends on `halo_px` pixels around it and no more.
A tile decoded with that much context is therefore the same as that part of the whole picture decoded at once.
"""

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from sdsr.tensors import Image, Latent

FACTOR = 8


class Residual(nn.Module):
    """x + conv(silu(conv(silu(x)))), an identity at initialisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        _silence(self.second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


def full_precision(like: Tensor) -> torch.autocast:
    """Where the linear paths meet pixels: in bfloat16 a bright picture would come in steps of 1/256."""
    return torch.autocast(like.device.type, enabled=False)


def _silence(layer: nn.Conv2d) -> None:
    """Let a layer give nothing at initialisation."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _residuals(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(channels) for _ in range(count)))


class Encoder(nn.Module):
    """[-1, 1] pixels -> latent: a linear lapped transform (block PCA at first) plus a convolutional correction."""

    def __init__(self, latent_channels: int, widths: tuple[int, int, int], depths: tuple[int, int, int]) -> None:
        super().__init__()
        half, quarter, eighth = widths
        self.linear = nn.Conv2d(3 * FACTOR**2, latent_channels, 3, padding=1)
        self.to_half = nn.Conv2d(12, half, 3, padding=1)
        self.at_half = _residuals(half, depths[0])
        self.to_quarter = nn.Conv2d(4 * half, quarter, 1)
        self.at_quarter = _residuals(quarter, depths[1])
        self.to_eighth = nn.Conv2d(4 * quarter, eighth, 1)
        self.at_eighth = _residuals(eighth, depths[2])
        self.out = nn.Conv2d(eighth, latent_channels, 3, padding=1)
        _silence(self.out)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.at_half(self.to_half(F.pixel_unshuffle(pixels, 2)))
        x = self.to_quarter(F.pixel_unshuffle(x, 2))  # assigned, so that the larger map is gone where blocks need most
        x = self.to_eighth(F.pixel_unshuffle(self.at_quarter(x), 2))
        x = self.at_eighth(x)
        with full_precision(pixels):
            linear = self.linear(F.pixel_unshuffle(pixels.float(), FACTOR))
        return linear + self.out(F.silu(x))


class Decoder(nn.Module):
    """Latent -> [-1, 1] pixels: the linear lapped transform and the correction meet in a smoothing head."""

    def __init__(self, latent_channels: int, widths: tuple[int, int, int], depths: tuple[int, int, int]) -> None:
        super().__init__()
        half, quarter, eighth = widths
        self.linear = nn.Conv2d(latent_channels, 3 * FACTOR**2, 3, padding=1)
        self.to_eighth = nn.Conv2d(latent_channels, eighth, 3, padding=1)
        self.at_eighth = _residuals(eighth, depths[2])
        self.to_quarter = nn.Conv2d(eighth, 4 * quarter, 1)
        self.at_quarter = _residuals(quarter, depths[1])
        self.to_half = nn.Conv2d(quarter, 4 * half, 1)
        self.at_half = _residuals(half, depths[0])
        self.to_full = nn.Conv2d(half, 4 * 12, 3, padding=1)
        self.head = nn.Conv2d(12 + 3, 3, 3, padding=1)
        _silence(self.head)

    def forward(self, latent: Tensor) -> Tensor:
        with full_precision(latent):
            blocks = F.pixel_shuffle(self.linear(latent.float()), FACTOR)
        x = self.at_eighth(self.to_eighth(latent))
        x = self.at_quarter(F.pixel_shuffle(self.to_quarter(x), 2))
        x = self.at_half(F.pixel_shuffle(self.to_half(x), 2))
        x = F.pixel_shuffle(self.to_full(F.silu(x)), 2)
        with full_precision(latent):
            return blocks + self.head(torch.cat([x.float(), blocks], dim=1))


class SmallAutoencoder(ModelMixin, ConfigMixin):
    """A lapped block transform, and what convolutions correct of it: 3 x H x W <-> c x H/8 x W/8, multiples of 8.

    Deterministic. `encode` takes and `decode` gives `Image`s in [0, 1]; latents have zero mean and unit variance over
    photographs (per-channel statistics are measured after training and kept as buffers).
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 32,
        widths: tuple[int, int, int] = (64, 128, 192),
        depths: tuple[int, int, int] = (1, 2, 2),
    ) -> None:
        super().__init__()
        self.encoder = Encoder(latent_channels, widths, depths)
        self.decoder = Decoder(latent_channels, widths, depths)
        self.register_buffer("latent_mean", torch.zeros(1, latent_channels, 1, 1))
        self.register_buffer("latent_scale", torch.ones(1, latent_channels, 1, 1))

    @property
    def halo_px(self) -> int:
        """Pixels of context beyond which an output pixel of `decode` depends on nothing."""
        depths = self.config["depths"]
        return FACTOR * (2 + 2 * depths[2]) + 4 * 2 * depths[1] + 2 * (2 * depths[0] + 1) + 1

    @property
    def encoder_halo_px(self) -> int:
        """Pixels of context, around a cell's own, beyond which what `encode` gives for it depends on nothing."""
        depths = self.config["depths"]
        return 2 * (1 + 2 * depths[0]) + 4 * 2 * depths[1] + FACTOR * (2 * depths[2] + 1)

    def encode(self, image: Image) -> Latent:
        return (self.encoder(2 * image - 1) - self.latent_mean) / self.latent_scale

    def encode_linearly(self, image: Image) -> Latent:
        """Return the latent by the lapped transform alone; what it lacks is detail finer than enlarged photos have.

        A cell sees itself and its eight neighbors.
        """
        with full_precision(image):
            latent = self.encoder.linear(F.pixel_unshuffle(2 * image.float() - 1, FACTOR))
        return (latent - self.latent_mean) / self.latent_scale

    def decode(self, latent: Latent) -> Image:
        return (self.decoder(latent * self.latent_scale + self.latent_mean) + 1) / 2

    @torch.no_grad()
    def begin_as_block_transform(self, blocks: Tensor, exponent: float = 0.75) -> None:
        """Begin both linear paths as the principal components of `blocks`: (n, 192), as pixel_unshuffle orders them.

        Component i is divided by std_i ** exponent: 1 would whiten (all detail appears at the same noise level), 0
        would keep a photograph's spectrum (fine detail drowns at once).
        """
        mean = blocks.double().mean(0)
        variance, basis = torch.linalg.eigh(torch.cov((blocks.double() - mean).T))
        count = self.config["latent_channels"]
        basis = basis.flip(1)[:, :count].T
        std = variance.flip(0)[:count].sqrt()
        gain = std ** (1 - exponent) / std
        gain = gain / ((std * gain) ** 2).mean().sqrt()
        analysis = basis * gain[:, None]
        synthesis = basis.T / gain[None, :]
        for layer, matrix, bias in (
            (self.encoder.linear, analysis, -analysis @ mean),
            (self.decoder.linear, synthesis, mean),
        ):
            layer.weight.zero_()
            layer.weight[..., 1, 1] = matrix.to(layer.weight)
            layer.get_parameter("bias").copy_(bias)
