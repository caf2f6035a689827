"""A prior and a method's parts at work on one photo: observe, start, denoise, decode."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.prior.evidence import Testimony, evidence_at
from sdsr.prior.prior import Prior
from sdsr.restoration.photograph import Photograph
from sdsr.tensors import Image, Latent, Region, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a photo before sampling: its latent, and the evidence for and against."""

    photograph: Photograph
    latent: Latent
    evidence: Testimony
    against: Testimony | None = None


class Conditioner(Protocol):
    """What a method tells the UNet about the photo; called once for each photo and prompt."""

    def __call__(self, prior: Prior, photograph: Photograph, latent: Latent, prompt: str | None) -> Testimony: ...


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a method adds to a prior: what it tells the UNet, where it starts, and what learned (`modules`).

    `prompt` is used where none is given, `negative_prompt` for guidance.
    """

    conditioner: Conditioner
    start: Start
    modules: nn.ModuleDict
    prompt: str | None = None
    negative_prompt: str | None = None


class Restoring(Protocol):
    """The four verbs; a `Restorer`, or one behind windows."""

    @property
    def schedule(self) -> NoiseSchedule: ...

    @property
    def channels(self) -> int: ...

    @property
    def factor(self) -> int: ...

    def observe(self, photograph: Photograph, prompt: str | None, noise: CanvasNoise) -> "Seen | list[Seen]": ...

    def start(self, seen, t: int, noise: CanvasNoise) -> Latent: ...

    def denoise(self, noisy: Latent, t: int, seen, guidance: float = 1.0) -> Latent: ...

    def decode(self, clean: Latent, seen, region: Region | None = None) -> Image: ...


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
        """Encode the enlarged photo and gather the evidence."""
        image = photograph.enlarged().to(self.prior.device)
        region = latent_region(photograph.region, self.factor)
        latent = self.prior.encode(image, noise.at("posterior", 0, region, self.channels).to(image))
        wanted = self.parts.prompt if prompt is None else prompt
        evidence = self.parts.conditioner(self.prior, photograph, latent, wanted)
        against = None
        if self.parts.negative_prompt is not None:
            against = self.parts.conditioner(self.prior, photograph, latent, self.parts.negative_prompt)
        return Seen(photograph=photograph, latent=latent, evidence=evidence, against=against)

    def start(self, seen: Seen, t: int | Time, noise: CanvasNoise) -> Latent:
        """Return the first noisy latent; `t` is one time for the whole batch, or one for each photo."""
        region = latent_region(seen.photograph.region, self.factor)
        return self.parts.start(
            self.schedule, seen, t, lambda: noise.at("start", 0, region, self.channels).to(seen.latent)
        )

    def denoise(self, noisy: Latent, t: int, seen: Seen, guidance: float = 1.0) -> Latent:
        """Return the estimate of the clean latent; `guidance` above 1 moves it away from the negative prompt."""
        predicted = self.prior.predict_noise(noisy, t, evidence_at(seen.evidence, noisy, t))
        if guidance != 1.0 and seen.against is not None:
            against = self.prior.predict_noise(noisy, t, evidence_at(seen.against, noisy, t))
            predicted = against + guidance * (predicted - against)
        return self.schedule.clean(noisy, predicted, t)

    def decode(self, clean: Latent, seen: Seen | list[Seen], region: Region | None = None) -> Image:
        """Return the pixels of a latent, or of a region of it (in pixels, a multiple of the factor on each side)."""
        if region is None:
            return self.prior.decode(clean)
        return self.prior.decode_part(clean, latent_region(region, self.factor))


def latent_region(region: Region, factor: int) -> Region:
    """Return the latent cells of a region of pixels, whose sides lie on them."""
    sides = (region.top, region.left, region.height, region.width)
    assert not any(side % factor for side in sides), f"{region} must lie on multiples of {factor} px"
    top, left, height, width = (side // factor for side in sides)
    return Region(top=top, left=left, height=height, width=width)
