"""The frozen latent-diffusion model that every method restores with: encode, denoise, decode, embed."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Protocol, TypeVar

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.errors import InputError
from sdsr.prior.captured import Captured
from sdsr.prior.condition import Condition
from sdsr.prior.facts import Facts
from sdsr.prior.offloading import device_of, offloading_of
from sdsr.prior.posterior import Picture, Posterior
from sdsr.prior.running import computing, move_network
from sdsr.prior.unet import UNetBackbone
from sdsr.tensors import Image, Latent, Region, Times, Tokens

Result = TypeVar("Result")
_PIXELS_BYTES = 24
"""Of a part's needs for each pixel, a picture and what is made of it: float32 in any precision."""

AUTOENCODER = "autoencoder"
"""What that is called among a prior's modules."""


class Autoencoder(Protocol):
    """Images in [0, 1] to scaled latents and back, by a `model`; sizes are multiples of `factor` pixels."""

    @property
    def model(self) -> nn.Module:
        """The network, a module."""
        ...

    factor: int
    channels: int

    @property
    def part_px(self) -> int:
        """The side of the largest part of a picture that is encoded or decoded at once, with its context."""
        ...

    @property
    def bytes_per_px(self) -> int:
        """Memory in use at once for each pixel of such a part in float32, weights aside."""
        ...

    @property
    def kernels(self) -> tuple[int, int]:
        """The (out, in) channels of the largest 3 x 3 kernels on its large maps; zeros where it has none."""
        ...

    @property
    def tile_cells(self) -> int:
        """The side of such a part without its context, in cells."""
        ...

    def in_tiles(self, tile_cells: int) -> "Autoencoder":
        """Return the same in parts of this side, itself where they are no smaller."""
        ...

    @property
    def has_deviation(self) -> bool:
        """Whether its posteriors have one, so that latents are samples."""
        ...

    def posterior(self, image: Image) -> Posterior: ...

    def posterior_of(self, picture: Picture, size: tuple[int, int]) -> Posterior:
        """Return the posterior of a picture of `size` (height, width) in cells, in bounded memory.

        It is that of the whole picture encoded at once, but for what is said of the autoencoder.
        """
        ...

    def decode(self, latent: Latent) -> Image: ...

    def decode_part(self, latent: Latent, cells: Region) -> Image:
        """Return the pixels of these cells as the whole picture has them, in memory bounded by the part's size.

        The latent must stay unchanged from its first part to its last.
        """
        ...


class TextEncoder(Protocol):
    """Prompts to tokens of cross-attention; `vocabulary` are the only prompts it knows, None where it knows all."""

    @property
    def vocabulary(self) -> tuple[str, ...] | None: ...

    def __call__(self, prompts: Sequence[str]) -> Tokens: ...


class ImageEncoder(Protocol):
    """Photos to one embedding each, (b, `width`); CLIP's image tower at full size."""

    @property
    def width(self) -> int: ...

    def __call__(self, image: Image) -> Tensor: ...


class Backbone(Protocol):
    """The network that predicts, what it needs, and how a condition reaches it."""

    @property
    def name(self) -> str:
        """What the network is called among a prior's modules."""
        ...

    @property
    def network(self) -> ModelMixin: ...

    def with_network(self, network: Any) -> "Backbone":
        """Return the same for another network of this kind."""
        ...

    @property
    def multiple(self) -> int:
        """Cells of which a latent's sides are multiples."""
        ...

    @property
    def bytes_per_cell(self) -> int:
        """Memory in use at once for each cell of a latent in float32, weights aside."""
        ...

    @property
    def kernels(self) -> tuple[int, int]:
        """The (out, in) channels of the largest 3 x 3 kernels on its large maps; zeros where it has none."""
        ...

    @property
    def bears_two(self) -> bool:
        """Whether two conditions may be one batch in float32; in half of that they may."""
        ...

    def predict(self, noisy: Latent, timestep: Tensor, condition: Condition) -> Latent:
        """Return what the network predicts; `timestep` is what it is told of the time, one for each item."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """An autoencoder, a denoising network and the encoders of its prompts, on one device, in one precision.

    The autoencoder and the text encoder compute in `dtype`, decided once, when the prior is loaded; the network runs
    under autocast to `dtype`, so that trained parts may stay in float32 beside frozen weights in half precision.
    A prior never changes: `adapted` gives another one. `modules` are its own networks, whatever was adapted.
    `succeeds` are the sha256 of priors whose weights are these but for their rounding: what was trained on them fits.
    `captured`: what replays calls of its networks as graphs, None where each kernel is launched by itself.
    """

    name: str
    sha256: str
    autoencoder: Autoencoder
    backbone: Backbone
    text: TextEncoder
    schedule: NoiseSchedule
    modules: nn.ModuleDict
    native_px: int
    dtype: torch.dtype = torch.float32
    image: ImageEncoder | None = None
    captured: Captured | None = None
    succeeds: tuple[str, ...] = ()

    def fits(self, sha256: str) -> bool:
        """Whether parts that were trained on the prior with this sha256 belong to this one."""
        return sha256 in (self.sha256, *self.succeeds)

    def adapted(
        self,
        *,
        network: nn.Module | None = None,
        autoencoder: Autoencoder | None = None,
        schedule: NoiseSchedule | None = None,
        dtype: torch.dtype | None = None,
    ) -> "Prior":
        """Return a prior that computes with these instead, and is this one in all else."""
        return replace(
            self,
            backbone=self.backbone if network is None else self.backbone.with_network(network),
            autoencoder=autoencoder or self.autoencoder,
            schedule=schedule or self.schedule,
            dtype=dtype or self.dtype,
        )

    @property
    def network(self) -> ModelMixin:
        """The network that predicts, of whatever kind."""
        return self.backbone.network

    @property
    def stock(self) -> ModelMixin:
        """That network as it was loaded, whatever a method made of it."""
        return next(module for module in self.modules.values() if type(module) is type(self.network))

    @property
    def unet(self) -> UNet2DConditionModel:
        """The network that predicts, for methods that need a UNet's levels and skips; raise InputError for others."""
        if not isinstance(self.backbone, UNetBackbone):
            raise InputError(
                f"prior (={self.name}) predicts by {type(self.network).__name__}, and this needs a UNet's levels and "
                "skips; use a Stable Diffusion 1.x or 2.x prior, or a method of one step."
            )
        return self.backbone.network

    @property
    def device(self) -> torch.device:
        """Where it computes, also where its weights are elsewhere meanwhile."""
        return device_of(self.network)

    @property
    def factor(self) -> int:
        """Pixels per latent cell, along one side."""
        return self.autoencoder.factor

    @property
    def channels(self) -> int:
        return self.autoencoder.channels

    @property
    def multiple_px(self) -> int:
        """Pixels of which a canvas's sides are multiples."""
        return self.factor * self.backbone.multiple

    @property
    def facts(self) -> Facts:
        """What windows and memory are chosen by, whatever a method adds."""
        share = 1.0 if self.dtype == torch.float32 else 0.5
        return Facts(
            factor=self.factor,
            channels=self.channels,
            multiple_px=self.multiple_px,
            native_px=self.native_px,
            bytes_per_px=ceil(share * self.backbone.bytes_per_cell / self.factor**2),
            part_px=self.autoencoder.part_px,
            part_bytes_per_px=ceil(_PIXELS_BYTES + share * (self.autoencoder.bytes_per_px - _PIXELS_BYTES)),
        )

    @property
    def bears_two(self) -> bool:
        """Whether two conditions may be one batch."""
        return self.dtype != torch.float32 or self.backbone.bears_two

    def to(self, device: torch.device | str) -> "Prior":
        """Move the networks, those of priors that share their weights too, and return the prior.

        On a device of another kind they are laid out as is fastest there.
        """
        for network in (self.modules, self.network, self.autoencoder.model):
            move_network(network, device)
        return self

    def encode(self, image: Image, noise: Latent | None = None) -> Latent:
        """Return the scaled latent (float32) of images whose sides are multiples of `factor`.

        It is the mode, or a posterior sample where `noise` is given and the posterior has a deviation.
        """
        return self.posterior(image).latent(noise)

    def posterior(self, image: Image) -> Posterior:
        """Return the posterior (float32) of images whose sides are multiples of `factor`."""
        image = image.to(self.device)
        with self.precision():
            return self.run(self.autoencoder.posterior, image, cells=_cells(image) // self.factor**2)

    def posterior_of(self, picture: Picture, size: tuple[int, int]) -> Posterior:
        """Return the posterior (float32) of a picture that may be too large to encode at once; `size` in pixels."""
        height, width = size
        assert height % self.factor == width % self.factor == 0, f"{size} must be multiples of {self.factor} px"

        def pixels(region: Region) -> Image:
            return picture(region).to(self.device)

        size = height // self.factor, width // self.factor
        if self.captured is not None and max(size) <= self.autoencoder.tile_cells:
            return self.posterior(pixels(Region.whole(height, width)))
        with self.precision():
            return self.autoencoder.posterior_of(pixels, size)

    def decode(self, latent: Latent) -> Image:
        """Return the images (float32, about [0, 1], not clamped) of scaled latents."""
        with self.precision():
            return self.run(self.autoencoder.decode, latent, cells=_cells(latent)).float()

    def decode_part(self, latent: Latent, cells: Region) -> Image:
        """Return the pixels (as of `decode`) of some cells of a latent that may be too large to decode at once."""
        if self.captured is not None and max(latent.shape[-2:]) <= self.autoencoder.tile_cells:
            return self.decode(latent)[cells.scaled(self.factor).slices]
        with self.precision():
            return self.autoencoder.decode_part(latent, cells).float()

    def embed(self, prompt: str | Sequence[str]) -> Tokens:
        """Return the tokens of one prompt, or of a batch of prompts."""
        with torch.no_grad(), self.precision():
            return self.text([prompt] if isinstance(prompt, str) else prompt).float()

    def denoise(self, noisy: Latent, t: Times, condition: Condition) -> Latent:
        """Return the estimate of the clean latent in `noisy` at time `t`.

        Raises InputError where no signal is left and the network predicts noise.
        """
        return self.schedule.clean(self.predict(noisy, t, condition), noisy, t)

    def denoise_both(
        self, noisy: Latent, t: Times, condition: Condition, negative_condition: Condition
    ) -> tuple[Latent, Latent]:
        """Return the clean estimates under two conditions: in one batch if that can be.

        It takes two where their ports differ, and where both would need more memory than a pass is said to.
        """
        both = condition.joined(negative_condition, len(noisy)) if self.bears_two else None
        if both is None:
            return self.denoise(noisy, t, condition), self.denoise(noisy, t, negative_condition)
        times = t.expand(len(noisy)).repeat(2) if isinstance(t, torch.Tensor) and t.ndim else t
        clean, negative = self.denoise(torch.cat([noisy, noisy]), times, both).chunk(2)
        return clean, negative

    def predict(self, noisy: Latent, t: Times, condition: Condition) -> Latent:
        """Return what the network itself predicts (float32): what is trained to be the `target` of the schedule."""
        timestep = self.schedule.curves.timestep(t).float().to(noisy.device, non_blocking=True).expand(len(noisy))
        with self.precision():
            return self.run(self.backbone.predict, noisy, timestep, condition, cells=_cells(noisy)).float()

    def precision(self) -> AbstractContextManager[None]:
        """The context in which everything of this prior computes."""
        return computing(self.device, self.dtype, offloading_of(self.network))

    def run(self, function: Callable[..., Result], *arguments: Any, cells: int) -> Result:
        """Return what a network's call gives, replayed as a graph where that is done for so many cells (`captured`)."""
        if self.captured is None or cells > self.captured.most_cells:
            return function(*arguments)
        return self.captured(function, *arguments)


def _cells(tensor: Tensor) -> int:
    return tensor.shape[-2] * tensor.shape[-1]
