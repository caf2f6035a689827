"""A tiny decoder in place of a prior's own: `AutoencoderTiny` of diffusers, the published TAESD (madebyollin/taesd).

It takes latents as the diffusion model has them: scaled, by its config's own `scaling_factor` of 1, so what an
autoencoder of Stable Diffusion divides by 0.18215 is not divided. Its networks work in [0, 1], and diffusers' wrapper
gives [-1, 1]. It normalises nothing and attends to nothing, so parts with enough context are the whole's, bit for bit
but for rounding. What it costs is detail; encoding stays the prior's own.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import cast

import torch
from diffusers.models.autoencoders.vae import DecoderTiny
from torch import FloatTensor, nn

from sdsr.digests import file_sha256
from sdsr.errors import ModelError
from sdsr.prior.network_config import NetworkConfig
from sdsr.prior.posterior import Picture, Posterior, decode_around
from sdsr.prior.prior import Autoencoder, Prior
from sdsr.prior.running import lay_out
from sdsr.prior.weight_files import fill, read_tensors
from sdsr.tensors import Image, Latent, Region

NAME = "tiny_decoder"
WEIGHTS = "diffusion_pytorch_model.safetensors"
_BLOCK_CONVOLUTIONS = 3
_MAPS_ALIVE = 4  # of the last level's width in float32, a value for each pixel, as are counted
_FIRST = "layers.0.weight"


class TinyDecoder(nn.Module):
    """Scaled latents to images in [0, 1]; its parameters are named as in `DecoderTiny`.

    `channels` and `width` are those of latents and maps; `blocks` counts residual blocks at each size, small to large.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: int = 64,
        blocks: tuple[int, ...] = (3, 3, 3, 1),
        scaling_factor: float = 1.0,
        shift_factor: float = 0.0,
    ) -> None:
        super().__init__()
        widths = (width,) * len(blocks)
        self.network = DecoderTiny(channels, 3, blocks, widths, 2, "relu", "nearest")
        self.channels = channels
        self.width = width
        self.blocks = blocks
        self.factor = 2 ** (len(blocks) - 1)
        self._scale = scaling_factor
        self._shift = shift_factor

    @property
    def margin(self) -> int:
        """Cells of context beyond which it sees nothing."""
        convolutions = [1 + _BLOCK_CONVOLUTIONS * count for count in self.blocks]
        convolutions[-1] += 1
        return ceil(sum(count / 2**level for level, count in enumerate(convolutions))) + 1

    def forward(self, latent: Latent) -> Image:
        """Return the images (float32) of scaled latents."""
        wide = self.network(cast(FloatTensor, latent / self._scale + self._shift))
        return (wide.float() + 1) / 2


class TinyDecoded:
    """A prior's autoencoder that decodes by a tiny decoder."""

    def __init__(self, own: Autoencoder, decoder: TinyDecoder) -> None:
        self.own = own
        self.decoder = decoder
        self.model = own.model
        self.factor = own.factor
        self.channels = own.channels

    @property
    def tile_cells(self) -> int:
        return self.own.tile_cells

    def in_tiles(self, tile_cells: int) -> "TinyDecoded":
        own = self.own.in_tiles(tile_cells)
        return self if own is self.own else TinyDecoded(own, self.decoder)

    @property
    def part_px(self) -> int:
        return max(self.own.part_px, (self.tile_cells + 2 * self.decoder.margin) * self.factor)

    @property
    def kernels(self) -> tuple[int, int]:
        return self.own.kernels

    @property
    def bytes_per_px(self) -> int:
        return max(self.own.bytes_per_px, _MAPS_ALIVE * 4 * self.decoder.width)

    @property
    def has_deviation(self) -> bool:
        return self.own.has_deviation

    def posterior(self, image: Image) -> Posterior:
        return self.own.posterior(image)

    def posterior_of(self, picture: Picture, size: tuple[int, int]) -> Posterior:
        return self.own.posterior_of(picture, size)

    def decode(self, latent: Latent) -> Image:
        return self.decoder(latent)

    def decode_part(self, latent: Latent, cells: Region) -> Image:
        return decode_around(self.decoder, latent, cells, margin=self.decoder.margin, factor=self.factor)


def decoded_by(prior: Prior, decoder: TinyDecoder, *, named: str = NAME) -> Prior:
    """Return a prior that decodes by this decoder, which is placed beside it; raise ModelError where it does not fit.

    `named` is what an error calls it. The prior's latents, and so its sha256, stay what they are.
    """
    if (decoder.channels, decoder.factor) != (prior.channels, prior.factor):
        raise ModelError(
            f"decoder (={named}) is for latents of {decoder.channels} channels and {decoder.factor} px to a cell, and "
            f"{prior.name} has {prior.channels} and {prior.factor}; give one of its own."
        )
    lay_out(decoder.eval().requires_grad_(False), prior.device)
    modules = nn.ModuleDict({**prior.modules, NAME: decoder})
    return replace(prior, autoencoder=TinyDecoded(prior.autoencoder, decoder), modules=modules)


def load_tiny_decoder(path: Path, *, dtype: torch.dtype = torch.float32) -> TinyDecoder:
    """Return the decoder in a folder in diffusers' layout (`AutoencoderTiny`), or in a file; raise ModelError.

    A file is the decoder alone: TAESD's own (`taesd_decoder.safetensors` or .pth), or what a run of the recipe
    "tiny-decoder" left.
    """
    file = weights_of(path)
    config = _config(path / "config.json") if path.is_dir() else {}
    tensors = {_name(name): tensor for name, tensor in read_tensors(file).items()}
    found = {name: tensor for name, tensor in tensors.items() if name.startswith("layers.")}
    first = found.get(_FIRST)
    if first is None or first.ndim != 4:
        raise ModelError(f"decoder (={file}) is no AutoencoderTiny or TAESD decoder; give one of madebyollin/taesd.")
    decoder = TinyDecoder(
        first.shape[1],
        width=first.shape[0],
        blocks=_blocks(found),
        scaling_factor=config.get("scaling_factor", 1.0),
        shift_factor=config.get("shift_factor", 0.0),
    )
    fill(decoder.network, found, file)
    return decoder.to(dtype)


def weights_of(path: Path) -> Path:
    """Return the weight file of a decoder's folder or file; raise ModelError where there is none."""
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise ModelError(
            f"decoder (={path}) has no {file.name}; give a folder of diffusers' AutoencoderTiny or a weight file, "
            "as of madebyollin/taesd."
        )
    return file


def decoder_sha256(path: Path) -> str:
    """Return what stands for a decoder: the sha256 of its weight file."""
    return file_sha256(weights_of(path))


def _blocks(names: Iterable[str]) -> tuple[int, ...]:
    """Count the residual blocks before each convolution that stands alone, but for the first one."""
    layers = {int(name.split(".")[1]): ".conv." in name or ".skip." in name for name in sorted(names)}
    blocks: list[int] = []
    count = 0
    for index in sorted(layers)[1:]:
        count += layers[index]
        if not layers[index]:
            blocks.append(count)
            count = 0
    return tuple(blocks)


def _config(path: Path) -> NetworkConfig:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"decoder (={path.parent}) has no config.json that can be read; download it again.") from error
    kind = config.get("_class_name") if isinstance(config, dict) else None
    widths = config.get("decoder_block_out_channels", [64]) if isinstance(config, dict) else []
    if kind != "AutoencoderTiny" or len(set(widths)) != 1 or config.get("act_fn", "relu") != "relu":
        raise ModelError(
            f"decoder (={path.parent}) is {kind or 'nothing known'} with maps of widths {widths}, and must be an "
            "AutoencoderTiny of one width with ReLU; give one of madebyollin/taesd."
        )
    return config


def _name(name: str) -> str:
    """A tensor's name in `DecoderTiny`: from that in AutoencoderTiny, in a run's file, or in TAESD's own.

    TAESD's decoder is a sequence whose first layer is the clamp, which diffusers' has in its forward.
    """
    name = re.sub(r"^(decoder|network)\.", "", name)
    if numbered := re.match(r"(\d+)\.(.*)", name):
        return f"layers.{int(numbered[1]) - 1}.{numbered[2]}"
    return name
