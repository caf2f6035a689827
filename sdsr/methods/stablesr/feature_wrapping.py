"""StableSR's controllable feature wrapping (CFW): the decoder takes details from the encoder's features of the photo.

arXiv:2305.07015 and its published code: F = F_d + w C(F_e, F_d), at half and at a quarter of the resolution. w is the
fidelity: 0 is the stock decoder, 1 what was trained. At full size C has 44,393,728 parameters. F_e are features of the
enlarged LQ photo, read from the frozen encoder while it encodes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from sdsr.adapters.layout import normalizable
from sdsr.errors import ModelError
from sdsr.prior.small_autoencoder import SmallAutoencoder

AnyAutoencoder = AutoencoderKL | SmallAutoencoder
FACTORS = (2, 4)
_RESIDUAL_SCALE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Two layers of an autoencoder whose outputs have the same size and channels: one to read, one to add to."""

    encoder: nn.Module
    decoder: nn.Module
    channels: int


def places(model: AnyAutoencoder) -> dict[int, Place]:
    """Return where features meet, by the factor at which they are smaller than the photo; always before resampling."""
    if isinstance(model, SmallAutoencoder):
        half, quarter, _ = model.config["widths"]
        encoder = model.encoder
        decoder = model.decoder
        return {
            2: Place(encoder=encoder.at_half, decoder=decoder.at_half, channels=half),
            4: Place(encoder=encoder.at_quarter, decoder=decoder.at_quarter, channels=quarter),
        }
    widths = model.config["block_out_channels"]
    return {
        2**level: Place(
            encoder=_last_block(model, f"encoder.down_blocks.{level}"),
            decoder=_last_block(model, f"decoder.up_blocks.{len(widths) - 1 - level}"),
            channels=widths[level],
        )
        for level in (1, 2)
    }


def _last_block(model: nn.Module, level: str) -> nn.Module:
    *_, last = model.get_submodule(f"{level}.resnets").children()
    return last


class Residual(nn.Module):
    """shortcut(x) + conv(silu(norm(conv(silu(norm(x)))))); without groups there is no normalisation."""

    def __init__(self, before: int, after: int, groups: int | None) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, before, eps=1e-6) if groups else nn.Identity()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, after, eps=1e-6) if groups else nn.Identity()
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(hidden)))


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all before it (arXiv:1809.00219)."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        widths = (growth, growth, growth, growth, channels)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels + seen * growth, width, 3, padding=1) for seen, width in enumerate(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        *growing, last = self.convs
        seen = x
        for conv in growing:
            seen = torch.cat((seen, F.leaky_relu(conv(seen), 0.2)), dim=1)
        return x + _RESIDUAL_SCALE * last(seen)


class DenseResidual(nn.Module):
    """Three dense blocks and a scaled skip around them: the block of ESRGAN's generator."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(channels, growth) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return x + _RESIDUAL_SCALE * self.blocks(x)


class Fusion(nn.Module):
    """C(F_e, F_d): what is added to the decoder's features."""

    def __init__(self, channels: int, *, blocks: int, growth: int, groups: int | None) -> None:
        super().__init__()
        self.merge = Residual(2 * channels, channels, groups)
        self.dense = nn.Sequential(*(DenseResidual(channels, growth) for _ in range(blocks)))
        self.out = Residual(channels, channels, groups)

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        return self.out(self.dense(self.merge(normalizable(torch.cat((encoded, decoded), dim=1)))))


class FeatureWrapping(nn.Module):
    """The fusion layers of one autoencoder's decoder, alone, by factor: `factor_2`, `factor_4`.

    `blocks` and `growth` are those of the dense part. `groups` None leaves normalisation out, for an autoencoder
    without any, so that windows decode like the whole; what a pixel depends on then grows by `halo_px` on each side.
    """

    def __init__(
        self,
        model: AnyAutoencoder,
        *,
        blocks: int = 2,
        growth: int = 32,
        groups: int | None = 32,
    ) -> None:
        super().__init__()
        self.blocks = blocks
        for factor, place in places(model).items():
            fusion = Fusion(place.channels, blocks=blocks, growth=growth, groups=groups)
            self.add_module(f"factor_{factor}", fusion)
        self.to(model.device)

    @property
    def halo_px(self) -> int:
        """Pixels around a decoded one that the fusion adds to what it depends on, where nothing is normalised."""
        return sum(FACTORS) * (2 + 3 * 5 * self.blocks + 2)

    @contextmanager
    def fused(self, model: AnyAutoencoder, features: Mapping[int, Tensor], fidelity: float = 1.0) -> Iterator[None]:
        """While it lasts, the decoder of `model` takes details from these features; with `fidelity` 0 it takes none.

        Its hooks are taken off again, so the autoencoder is then what it was, bit for bit; meanwhile it belongs to one
        thread. Where the decoder is checkpointed, the backward pass must lie within, too; torch refuses it elsewhere.
        """
        with ExitStack() as hooks:
            for factor, place in places(model).items() if fidelity else ():
                adding = _adding(self.get_submodule(f"factor_{factor}"), features[factor], fidelity)
                hooks.callback(place.decoder.register_forward_hook(adding).remove)
            yield


@contextmanager
def noted(model: AnyAutoencoder) -> Iterator[dict[int, Tensor]]:
    """While it lasts, note the features of the photo that `model` encodes; the last one counts."""
    features: dict[int, Tensor] = {}
    with ExitStack() as hooks:
        for factor, place in places(model).items():
            hooks.callback(place.encoder.register_forward_hook(_noting(features, factor)).remove)
        yield features


def _noting(features: dict[int, Tensor], factor: int) -> Callable[[nn.Module, tuple[object, ...], Tensor], None]:
    def note(module: nn.Module, args: tuple[object, ...], output: Tensor) -> None:
        features[factor] = output

    return note


def _adding(
    fusion: nn.Module, encoded: Tensor, fidelity: float
) -> Callable[[nn.Module, tuple[object, ...], Tensor], Tensor]:
    def add(module: nn.Module, args: tuple[object, ...], decoded: Tensor) -> Tensor:
        if encoded.shape[-2:] != decoded.shape[-2:]:
            raise ModelError(
                f"features (={tuple(encoded.shape[-2:])}) must be as large as the decoder's, "
                f"{tuple(decoded.shape[-2:])}; take them from the photo, or the part of it, that is decoded."
            )
        return (decoded + fidelity * fusion(encoded, decoded)).to(decoded.dtype)

    return add
