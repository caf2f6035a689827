"""A prior and a method's parts at work on one photo: observe, start, denoise, decode."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from torch import nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.prior.condition import Conditioning, condition_at
from sdsr.prior.prior import Picture, Posterior, Prior
from sdsr.restoration.cells import latent_region, noise_region
from sdsr.restoration.photograph import Photograph
from sdsr.tensors import Image, Latent, Region, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a photo before sampling: its latent, and its condition under a prompt and the negative one.

    `shown` is the latent that the conditioner looked at, None for that one.
    """

    photograph: Photograph
    latent: Latent
    condition: Conditioning
    negative_condition: Conditioning | None = None
    prompt: str | None = None
    shown: Latent | None = None


PromptedCondition = Callable[[str], Conditioning]
"""The conditioning of an encoded photo under any prompt; "" is none."""


class Conditioner(Protocol):
    """How a method looks at a photo: once, whatever it is then asked."""

    def __call__(self, prior: Prior, photograph: Photograph, latent: Latent) -> PromptedCondition: ...


Start = Callable[[NoiseSchedule, Seen, int | Time, Callable[[], Latent]], Latent]
"""(schedule, what was seen of the photo, start time, a function that draws noise) -> the first noisy latent."""


def from_photo(schedule: NoiseSchedule, seen: Seen, t: int | Time, noise: Callable[[], Latent]) -> Latent:
    """Start with the LQ latent itself, no noise added (D3SR)."""
    return seen.latent


def from_noise(schedule: NoiseSchedule, seen: Seen, t: int | Time, noise: Callable[[], Latent]) -> Latent:
    """Start with pure noise (ConsisSR, StableSR)."""
    return noise()


def from_noised_photo(schedule: NoiseSchedule, seen: Seen, t: int | Time, noise: Callable[[], Latent]) -> Latent:
    """Start with the LQ latent, noised up to the start time (AddSR, SeeSR)."""
    return schedule.noisy(seen.latent, noise(), t)


class Decoder(Protocol):
    """A method's own way back to pixels: those of some cells of `clean`, whose canvas the photograph is on.

    `fidelity`, 0 ... 1, is how much of the photo is taken over.
    """

    def __call__(
        self, prior: Prior, clean: Latent, photograph: Photograph, cells: Region, fidelity: float
    ) -> Image: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a method adds to a prior: what it tells the UNet, where it starts, and what learned (`modules`).

    `prompt` is used where none is given, `negative_prompt` for guidance. `decoder` is one that looks at the photo, None
    the prior's own. `settle` makes restoring as fast as it can be; afterwards nothing learns any more. `on_mode` says
    whether the conditioner looks at the mode of the photo's latent, where the latent itself is a sample.
    """

    conditioner: Conditioner
    start: Start
    modules: nn.ModuleDict
    prompt: str | None = None
    negative_prompt: str | None = None
    decoder: Decoder | None = None
    settle: Callable[[], None] | None = None
    on_mode: bool = False


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

    def observe(self, photograph: Photograph, prompt: str | None, noise: CanvasNoise) -> Seen:
        """Encode the enlarged photo and condition on it."""
        image = photograph.enlarged().to(self.prior.device)
        return self.observe_encoded(photograph, self.prior.posterior(image), prompt, noise)

    def posterior_of(self, picture: Picture, size: tuple[int, int]) -> Posterior:
        """Return the prior's posterior of a picture of `size` (height, width), in bounded memory."""
        return self.prior.posterior_of(picture, size)

    def observe_encoded(
        self, photograph: Photograph, posterior: Posterior, prompt: str | None, noise: CanvasNoise
    ) -> Seen:
        """Condition on a photo, or of a part of one, that is encoded already."""
        region = noise_region(photograph.region, self.factor)
        latent = posterior.latent(noise.at("posterior", 0, region, self.channels).to(posterior.mean))
        shown = posterior.mean if self.parts.on_mode else latent
        wanted = self.parts.prompt if prompt is None else prompt
        condition, negative_condition = self._conditions(photograph, shown, wanted)
        return Seen(
            photograph=photograph,
            latent=latent,
            condition=condition,
            negative_condition=negative_condition,
            prompt=wanted,
            shown=shown,
        )

    def refresh(self, seen: Seen, picture: Picture) -> Seen:
        """Return what is encoded when the condition is of a picture in the photo's place; all else stays the photo's.

        A region of the picture is counted as the canvas's own.
        """
        size = seen.photograph.region.height, seen.photograph.region.width
        looked_at = Photograph.of(picture(seen.photograph.region), size, self.factor)
        shown = seen.latent if seen.shown is None else seen.shown
        condition, negative_condition = self._conditions(looked_at, shown, seen.prompt)
        return replace(seen, condition=condition, negative_condition=negative_condition)

    def start(self, seen: Seen, t: int | Time, noise: CanvasNoise) -> Latent:
        """Return the first noisy latent; `t` is one time for the whole batch, or one for each photo."""
        region = noise_region(seen.photograph.region, self.factor)
        return self.parts.start(
            self.schedule, seen, t, lambda: noise.at("start", 0, region, self.channels).to(seen.latent)
        )

    def denoise(self, noisy: Latent, t: int | Time, seen: Seen, guidance: float = 1.0) -> Latent:
        """Return the estimate of the clean latent; `guidance` above 1 moves it away from the negative prompt."""
        clean = self.prior.denoise(noisy, t, condition_at(seen.condition, noisy, t))
        if guidance == 1.0 or seen.negative_condition is None:
            return clean
        negative = self.prior.denoise(noisy, t, condition_at(seen.negative_condition, noisy, t))
        return negative + guidance * (clean - negative)  # of clean estimates as of noise: one is linear in the other

    def decode(self, clean: Latent, canvas: Photograph, region: Region | None = None, fidelity: float = 0.0) -> Image:
        """Return the pixels of a latent, or of a region of it (in pixels, a multiple of the factor on each side).

        They are the prior's own where the method has no decoder of its own; that one looks at the photo on the latent's
        `canvas`, and takes the more of it the greater `fidelity` is, 0 ... 1.
        """
        cells = Region.whole(*clean.shape[-2:]) if region is None else latent_region(region, self.factor)
        if self.parts.decoder is not None:
            return self.parts.decoder(self.prior, clean, canvas, cells, fidelity)
        return self.prior.decode(clean) if region is None else self.prior.decode_part(clean, cells)

    def _conditions(
        self, photograph: Photograph, latent: Latent, prompt: str | None
    ) -> tuple[Conditioning, Conditioning | None]:
        """The condition under a prompt, and under the negative one where the method has one."""
        condition_for = self.parts.conditioner(self.prior, photograph, latent)
        negative = self.parts.negative_prompt
        return condition_for(prompt or ""), None if negative is None else condition_for(negative)
