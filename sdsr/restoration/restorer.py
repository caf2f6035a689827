"""A prior and a method's parts at work on one photo: encode_lq, start, denoise, decode."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from typing import ClassVar, Protocol

import torch
from torch import nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.prior.condition import Conditioning, condition_at
from sdsr.prior.facts import Facts
from sdsr.prior.posterior import Picture, Posterior
from sdsr.prior.prior import Prior
from sdsr.prior.running import workspace_bytes
from sdsr.restoration.cells import latent_region, noise_region
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.peak import BY_TORCH, LAYER_BYTES, Allocations
from sdsr.restoration.plan import Plan
from sdsr.tensors import Image, Latent, Region, Time

_TWO_CONDITIONS = 2.2
"""What a pass under two conditions has in use, of one under one (2.2 counted)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedLq:
    """What is known of a photo before sampling: its latent, and its condition under a prompt and the negative one.

    `conditioned_on` is the latent that the conditioner was given, None for that one.
    """

    lq_image: LqImage
    latent: Latent
    condition: Conditioning
    negative_condition: Conditioning | None = None
    prompt: str | None = None
    conditioned_on: Latent | None = None


PromptedCondition = Callable[[str], Conditioning]
"""The conditioning of an encoded photo under any prompt; "" is none."""


class Looking(Protocol):
    """A part of a photo, or of what stands in its place; its pixels are made when they are asked for.

    `decoded`: whether a network must make them.
    """

    decoded: ClassVar[bool]

    def enlarged(self) -> Image: ...


class Conditioner(Protocol):
    """How a method looks at a photo: once, whatever it is then asked."""

    def __call__(self, prior: Prior, photo: Looking, latent: Latent) -> PromptedCondition: ...


Start = Callable[[NoiseSchedule, EncodedLq, int | Time, Callable[[], Latent]], Latent]
"""(schedule, encoded LQ, start time, a function that draws noise) -> the first noisy latent."""


def from_photo(schedule: NoiseSchedule, encoded: EncodedLq, t: int | Time, noise: Callable[[], Latent]) -> Latent:
    """Start with the LQ latent itself, no noise added (D3SR)."""
    return encoded.latent


def from_noise(schedule: NoiseSchedule, encoded: EncodedLq, t: int | Time, noise: Callable[[], Latent]) -> Latent:
    """Start with pure noise (ConsisSR, StableSR)."""
    return noise()


def from_noised_photo(
    schedule: NoiseSchedule, encoded: EncodedLq, t: int | Time, noise: Callable[[], Latent]
) -> Latent:
    """Start with the LQ latent, noised up to the start time (AddSR, SeeSR)."""
    return schedule.noisy(encoded.latent, noise(), t)


class Decoder(Protocol):
    """A method's own way back to pixels: those of some cells of `clean`, whose canvas the LQ image is on.

    `fidelity`, 0 ... 1, is how much of the photo is taken over. Between the ends it needs `mixing_bytes_per_px` more.
    """

    @property
    def mixing_bytes_per_px(self) -> int: ...

    def __call__(self, prior: Prior, clean: Latent, lq_image: LqImage, cells: Region, fidelity: float) -> Image: ...

    def context_px(self, prior: Prior) -> int:
        """Return how many pixels around a part are decoded with it where the latent is large."""
        ...

    def kernels(self, prior: Prior) -> tuple[int, int]:
        """Return the same as `Autoencoder.kernels`, of what decodes here."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a method adds to a prior: what it tells the UNet, where it starts, and what learned (`modules`).

    `prompt` is used where none is given, `negative_prompt` for guidance. `decoder` is one that looks at the photo, None
    the prior's own. `fuse` makes restoring as fast as it can be; afterwards nothing learns any more. `on_mode` says
    whether the conditioner looks at the mode of the photo's latent, where the latent itself is a sample. `pass_share`:
    what a pass has in use at once, of what the prior's own has. `used_with`: by the names of modules, which network of
    the prior each computes beside, by its name there, or its own name where it computes alone; those that are not named
    compute beside the backbone's.
    """

    conditioner: Conditioner
    start: Start
    modules: nn.ModuleDict
    prompt: str | None = None
    negative_prompt: str | None = None
    decoder: Decoder | None = None
    fuse: Callable[[], None] | None = None
    on_mode: bool = False
    pass_share: float = 1.0
    used_with: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restorer:
    """Restores a photo, or a window of one, in one piece."""

    prior: Prior
    parts: Parts

    @property
    def schedule(self) -> NoiseSchedule:
        return self.prior.schedule

    @property
    def channels(self) -> int:
        return self.prior.channels

    @property
    def factor(self) -> int:
        return self.prior.factor

    @property
    def tile_px(self) -> int:
        return self.prior.autoencoder.tile_cells * self.factor

    @property
    def draws_noise(self) -> bool:
        """Whether what its first step begins with is drawn: the start's noise, or the photo's latent."""
        return self.parts.start is not from_photo or self.prior.autoencoder.has_deviation

    def in_tiles(self, tile_px: int) -> "Restorer":
        autoencoder = self.prior.autoencoder.in_tiles(tile_px // self.factor)
        if autoencoder is self.prior.autoencoder:
            return self
        return replace(self, prior=self.prior.adapted(autoencoder=autoencoder))

    def facts(self, plan: Plan | None = None) -> Facts:
        """Return what windows and memory are chosen by: the prior's, with what the method adds, and its `plan`.

        Guidance asks for two conditions at once, refinement for windows that are decoded between steps, and a fidelity
        between 0 and 1 for both ends of a decoder; without a plan, only the last is reckoned with.
        """
        own = self.prior.facts
        guided = plan is not None and plan.guidance != 1.0 and self.parts.negative_prompt is not None
        share = self.parts.pass_share * (_TWO_CONDITIONS if guided and self.prior.bears_two else 1)
        part_px, part_bytes = own.part_px, own.part_bytes_per_px
        if self.parts.decoder is not None:
            part_px = max(part_px, self.tile_px + 2 * self.parts.decoder.context_px(self.prior))
            mixed = plan is None or 0 < plan.fidelity < 1
            part_bytes -= 0 if mixed else self.parts.decoder.mixing_bytes_per_px
        window_bytes = ceil(share * own.bytes_per_px)
        if _refined(plan):
            window_bytes = max(window_bytes, own.part_bytes_per_px)
        return replace(own, bytes_per_px=window_bytes, part_px=part_px, part_bytes_per_px=part_bytes)

    def allocations(self, plan: Plan | None = None) -> Allocations:
        """How torch takes memory where this computes, by such a plan."""
        prior, decoder = self.prior, self.parts.decoder
        decoded = prior.autoencoder.kernels if decoder is None else decoder.kernels(prior)
        sampled = [prior.backbone.kernels, *([prior.autoencoder.kernels] if _refined(plan) else [])]
        compiled = LAYER_BYTES * self._layers if (prior.device.type, prior.dtype) == ("cpu", torch.bfloat16) else 0
        return replace(
            BY_TORCH,
            once_bytes=BY_TORCH.once_bytes + compiled,
            window_workspace_bytes=max(workspace_bytes(prior.device, prior.dtype, each) for each in sampled),
            part_workspace_bytes=workspace_bytes(prior.device, prior.dtype, decoded),
        )

    def encode_lq(self, lq_image: LqImage, prompt: str | None, noise: CanvasNoise) -> EncodedLq:
        """Encode the enlarged photo and condition on it."""
        image = lq_image.enlarged().to(self.prior.device)
        return self.encode_posterior(lq_image, self.prior.posterior(image), prompt, noise)

    def posterior_of(self, picture: Picture, size: tuple[int, int]) -> Posterior:
        """Return the prior's posterior of a picture of `size` (height, width), in bounded memory."""
        return self.prior.posterior_of(picture, size)

    def encode_posterior(
        self, lq_image: LqImage, posterior: Posterior, prompt: str | None, noise: CanvasNoise
    ) -> EncodedLq:
        """Condition on a photo, or of a part of one, that is encoded already."""
        region = noise_region(lq_image.region, self.factor)
        drawn = noise.at("posterior", 0, region, self.channels)
        latent = posterior.latent(drawn.to(posterior.mean, non_blocking=True))
        conditioned_on = posterior.mean if self.parts.on_mode else latent
        wanted = self.parts.prompt if prompt is None else prompt
        condition, negative_condition = self._conditions(lq_image, conditioned_on, wanted)
        return EncodedLq(
            lq_image=lq_image,
            latent=latent,
            condition=condition,
            negative_condition=negative_condition,
            prompt=wanted,
            conditioned_on=conditioned_on,
        )

    def refresh(self, encoded: EncodedLq, picture: Picture) -> EncodedLq:
        """Return what is encoded when the condition is of a picture in the photo's place; all else stays the photo's.

        A region of the picture is counted as the canvas's own; it is asked for when the condition is.
        """
        looked_at = _Shown(picture=picture, canvas=encoded.lq_image.region)
        conditioned_on = encoded.latent if encoded.conditioned_on is None else encoded.conditioned_on
        condition, negative_condition = self._conditions(looked_at, conditioned_on, encoded.prompt)
        return replace(encoded, condition=condition, negative_condition=negative_condition)

    def start(self, encoded: EncodedLq, t: int | Time, noise: CanvasNoise) -> Latent:
        """Return the first noisy latent; `t` is one time for the whole batch, or one for each photo."""
        region = noise_region(encoded.lq_image.region, self.factor)
        return self.parts.start(
            self.schedule,
            encoded,
            t,
            lambda: noise.at("start", 0, region, self.channels).to(encoded.latent, non_blocking=True),
        )

    def denoise(self, noisy: Latent, t: int | Time, encoded: EncodedLq, guidance: float = 1.0) -> Latent:
        """Return the estimate of the clean latent; `guidance` above 1 moves it away from the negative prompt.

        Classifier-free guidance (arXiv:2207.12598, Eq. 6), whose strength w is `guidance` - 1. Both estimates are those
        of one batch where that can be (`prior/running.py`).
        """
        condition = condition_at(encoded.condition, noisy, t)
        if guidance == 1.0 or encoded.negative_condition is None:
            return self.prior.denoise(noisy, t, condition)
        negative_condition = condition_at(encoded.negative_condition, noisy, t)
        clean, negative = self.prior.denoise_both(noisy, t, condition, negative_condition)
        return negative + guidance * (clean - negative)  # of clean estimates as of noise: one is linear in the other

    def decode(self, clean: Latent, canvas: LqImage, region: Region | None = None, fidelity: float = 0.0) -> Image:
        """Return the pixels of a latent, or of a region of it (in pixels, a multiple of the factor on each side).

        They are the prior's own where the method has no decoder of its own; that one looks at the photo on the latent's
        `canvas`, and takes the more of it the greater `fidelity` is, 0 ... 1.
        """
        cells = Region.whole(*clean.shape[-2:]) if region is None else latent_region(region, self.factor)
        if self.parts.decoder is not None:
            return self.parts.decoder(self.prior, clean, canvas, cells, fidelity)
        return self.decode_plainly(clean, region)

    def decode_plainly(self, clean: Latent, region: Region | None = None) -> Image:
        """Return the pixels as the prior's own decoder paints them, whatever decoder the method has."""
        if region is None:
            return self.prior.decode(clean)
        return self.prior.decode_part(clean, latent_region(region, self.factor))

    @property
    def _layers(self) -> int:
        networks = self.prior.network, self.prior.autoencoder.model, self.parts.modules
        modules = {module for network in networks for module in network.modules()}
        return sum(isinstance(module, (nn.Conv2d, nn.Linear)) for module in modules)

    def _conditions(
        self, photo: Looking, latent: Latent, prompt: str | None
    ) -> tuple[Conditioning, Conditioning | None]:
        """The condition under a prompt, and under the negative one where the method has one."""
        condition_for = self.parts.conditioner(self.prior, photo, latent)
        negative = self.parts.negative_prompt
        return condition_for(prompt or ""), None if negative is None else condition_for(negative)


def _refined(plan: Plan | None) -> bool:
    return plan is not None and plan.refinement is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A picture in a photo's place: its part on the `canvas`, in [0, 1]."""

    picture: Picture
    canvas: Region
    decoded: ClassVar[bool] = True

    def enlarged(self) -> Image:
        return self.picture(self.canvas).clip(0, 1)
