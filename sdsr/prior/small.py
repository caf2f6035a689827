"""The embedded prior: a small latent-diffusion model trained by this project, which needs no network and no GPU.

Its UNet and image encoder are trained together. Cross-attention sees `PROMPT_TOKENS` tokens of a prompt and one token
of the photo (the learned null where there is none), so that prompts, image tokens and guidance mean something on it.
"""

import difflib
from collections.abc import Sequence
from math import ceil

import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from sdsr.errors import InputError
from sdsr.prior.posterior import Picture, Posterior, decode_around, encode_in_parts
from sdsr.prior.small_autoencoder import FACTOR, SmallAutoencoder
from sdsr.tensors import Image, Latent, Region, Tokens

PROMPTS = ("", "clean", "degraded")
PROMPT_TOKENS = 4
TOKEN_WIDTH = 128
NATIVE_SIZE_PX = 512
IMAGE_ENCODER_PX = 64
WINDOW_CELLS = 128
_MAPS_ALIVE = 3.7  # of the width at H/2 in float32 while it decodes, as are counted; 3.4 while it encodes
_LEAST_BYTES_PER_PX = 160  # where maps at H/2 are narrow: those at H


def small_unet(latent_channels: int, widths: tuple[int, ...] = (160, 160), heads: int = 4) -> UNet2DConditionModel:
    """A Stable-Diffusion-shaped UNet: attention from the second level down, linear projections, one layer per block."""
    down = ("DownBlock2D", *["CrossAttnDownBlock2D"] * (len(widths) - 1))
    return UNet2DConditionModel(
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=down,
        up_block_types=tuple(block.replace("Down", "Up") for block in reversed(down)),
        cross_attention_dim=TOKEN_WIDTH,
        attention_head_dim=heads,
        use_linear_projection=True,
    )


class PromptTable(nn.Module):
    """The prompts this prior knows, `PROMPT_TOKENS` learned tokens each, and the null of the photo's token."""

    def __init__(self, prompts: Sequence[str] = PROMPTS, tokens: int = PROMPT_TOKENS, width: int = TOKEN_WIDTH) -> None:
        super().__init__()
        self.prompts = tuple(prompts)
        # on the CPU wherever the rest is made: drawn on "meta", they would load torch's compiler and SymPy
        self.table = nn.Parameter(torch.randn(len(self.prompts), tokens, width, device="cpu"))
        self.null = nn.Parameter(torch.randn(1, 1, width, device="cpu"))

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return self.prompts

    def forward(self, prompts: Sequence[str], photo: Tensor | None = None) -> Tokens:
        """Return (b, tokens + 1, width): the prompt's tokens, then the photo's embedding (b, width) or the null."""
        tokens = self.table[[self._index(prompt) for prompt in prompts]]
        last = self.null.expand(len(tokens), 1, -1) if photo is None else photo[:, None]
        return torch.cat([tokens, last], dim=1)

    def _index(self, prompt: str) -> int:
        if prompt in self.prompts:
            return self.prompts.index(prompt)
        nearest = difflib.get_close_matches(prompt, self.prompts, n=1, cutoff=0.0)
        raise InputError(
            f"prompt (={prompt!r}) is unknown to the small prior, which knows only {list(self.prompts)}; "
            f"try {nearest[0]!r}, or a prior with a text encoder."
        )


class SmallImageEncoder(nn.Module):
    """A photo, squashed to 64 x 64, to one embedding: five strided convolutions, mean, linear."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 192), width: int = TOKEN_WIDTH) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *widths), widths, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(widths[-1] * 4, width)

    @property
    def width(self) -> int:
        return self.out.out_features

    def forward(self, image: Image) -> Tensor:
        """Return the embedding, (b, width)."""
        return self.out(F.adaptive_avg_pool2d(self.features(image), 2).flatten(1))

    def features(self, image: Image) -> Tensor:
        """Return the map that is averaged to the embedding, (b, channels, 4, 4)."""
        small = F.interpolate(image, (IMAGE_ENCODER_PX, IMAGE_ENCODER_PX), mode="bicubic", antialias=True)
        return self.layers(2 * small - 1)


class SmallLatents:
    """The autoencoder as a prior sees it: deterministic, so a posterior has no deviation.

    `linear`: it encodes by its lapped transform alone. `tile_cells`: see `Autoencoder`.
    """

    factor = FACTOR

    def __init__(
        self,
        model: SmallAutoencoder,
        *,
        linear: bool = False,
        tile_cells: int = WINDOW_CELLS,
    ) -> None:
        self.model = model
        self.tile_cells = tile_cells
        self.channels: int = model.config["latent_channels"]
        self.linear = linear

    @property
    def linearly(self) -> "SmallLatents":
        """The same, but that it encodes by its lapped transform alone."""
        return SmallLatents(self.model, linear=True)

    def in_tiles(self, tile_cells: int) -> "SmallLatents":
        if tile_cells >= self.tile_cells:
            return self
        return SmallLatents(self.model, linear=self.linear, tile_cells=tile_cells)

    @property
    def part_px(self) -> int:
        return (self.tile_cells + 2 * self.margin) * FACTOR

    @property
    def bytes_per_px(self) -> int:
        return max(_LEAST_BYTES_PER_PX, ceil(_MAPS_ALIVE * self.model.config["widths"][0]))  # 4 bytes, for 4 pixels

    @property
    def kernels(self) -> tuple[int, int]:
        """Return those at H/4: what they leave there is alive while it decodes further."""
        width = self.model.config["widths"][1]
        return width, width

    @property
    def has_deviation(self) -> bool:
        return False

    def posterior(self, image: Image) -> Posterior:
        return Posterior(mean=self.encode(image).float())

    def encode(self, image: Image) -> Latent:
        return self.model.encode_linearly(image) if self.linear else self.model.encode(image)

    @property
    def encoder_margin(self) -> int:
        """Cells of context beyond which the encoder sees nothing."""
        return 1 if self.linear else -(-self.model.encoder_halo_px // FACTOR)

    def posterior_of(self, picture: Picture, size: tuple[int, int]) -> Posterior:
        """Return the latent, in parts whose context is all that the encoder sees, so that they are the whole's."""
        side, margin = self.tile_cells, self.encoder_margin
        return encode_in_parts(self.posterior, picture, size, side=side, margin=margin, factor=FACTOR)

    def decode(self, latent: Latent) -> Image:
        return self.model.decode(latent)

    @property
    def margin(self) -> int:
        """Cells of context beyond which the decoder sees nothing."""
        return -(-self.model.halo_px // FACTOR)

    def decode_part(self, latent: Latent, cells: Region) -> Image:
        return decode_around(self.model.decode, latent, cells, margin=self.margin, factor=FACTOR)
