"""Decoding: train a method's own decoder on what the method restores, with or without the UNet before it.

A teacher's answers give edges a place to be (terms `taught*`), the HQ photos what it paints away, and a discriminator
what both average out. While the UNet is frozen, latents are restored once per pair and kept; once the decoder knows
what to do with them, both can learn as one network (`whole`), so that the latent holds what the decoder needs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from sdsr.critics.projected import ProjectedCritic
from sdsr.diffusion.noise import CanvasNoise
from sdsr.losses.adversarial import critic_hinge, generator_hinge
from sdsr.losses.dists import dists
from sdsr.losses.efficientnet import load_efficientnet_lite
from sdsr.losses.perceptual import feature_distance
from sdsr.losses.terms import StepRecord, Term, against_teacher, image_l1, weighted_sum
from sdsr.methods.one_step.guided_decoder import GuidedDecoder
from sdsr.objectives.critics import still
from sdsr.objectives.learner import Judged, Outcome, Sample
from sdsr.objectives.pairs import first, nearness, photograph_of
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer
from sdsr.tensors import Image, Latent, Region

PREVIEWS = 6
OFFSETS_PX = 8
End = Literal["detailed", "faithful"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """The plan that restores the latents, which end of the decoder learns, and what is compared.

    Each pair gives one crop of `crop_px` per use. `terms` are on pixels; `taught` weighs a distance of ImageNet
    features (LPIPS's form, EfficientNet-Lite0) to the teacher's answer, `features` DISTS's form to the HQ photo, and
    `image_critic` what the discriminator says, from `critics_from` (a share of the run) on. `whole`: the UNet learns
    beside the decoder's detailed end.
    """

    plan: Plan
    end: End = "detailed"
    whole: bool = False
    crop_px: int = 160
    terms: tuple[Term, ...] = field(
        default_factory=lambda: (Term(name="taught_image", weight=1.0, function=against_teacher(image_l1)),)
    )
    taught: float = 0.0
    features: float = 0.0
    image_critic: float = 0.0
    critics_from: float = 0.0

    def learner(self, system: Restorer, critic: nn.Module | None) -> "DecodingLearner":
        assert critic is None or isinstance(critic, PictureGame), "decoding is watched by `PictureGame`"
        return DecodingLearner(system, self, critic)


class PictureGame(nn.Module):
    """A discriminator of pictures with hinge losses, as the trainer moves it."""

    def __init__(self, critic: ProjectedCritic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, judged: Judged, rng: torch.Generator) -> Outcome:
        loss = critic_hinge(self.critic(judged.real["image"]), self.critic(judged.fake["image"]))
        return Outcome(loss=loss, scalars={"image": float(loss.detach())})

    def generator_loss(self, image: Image) -> Tensor:
        with still(self):
            return generator_hinge(self.critic(image))


class DecodingLearner(nn.Module):
    """Trains one end of a guided decoder, the detailed one with all that leads to it."""

    def __init__(self, restorer: Restorer, objective: Decoding, critic: PictureGame | None) -> None:
        super().__init__()
        self.restorer, self.objective = restorer, objective
        decoder = restorer.parts.modules["decoder"]
        assert isinstance(decoder, GuidedDecoder), "this objective trains a guided decoder"
        self.decoder = decoder
        restorer.parts.modules.requires_grad_(False)
        decoder.requires_grad_(objective.end == "detailed")
        decoder.faithful.requires_grad_(objective.end == "faithful")
        if objective.whole:
            restorer.parts.modules["unet"].requires_grad_(True)
        seen = objective.taught or objective.features
        self.network = load_efficientnet_lite("lite0") if seen else None
        self._critic = [critic]  # in a list: the critic is no submodule of what the main optimizer trains
        self._latents: dict[int, Latent] = {}

    @property
    def critic(self) -> PictureGame | None:
        return self._critic[0]

    @property
    def parts(self) -> dict[str, nn.Module]:
        return dict(self.restorer.parts.modules.items())

    def forward(self, sample: Sample, rng: torch.Generator, progress: float = 0.0) -> Outcome:
        if self.objective.whole:
            sample = self._cropped_pairs(sample, rng)
            latents, enlarged = self._restored(sample), photograph_of(self.restorer, sample).enlarged()
        else:
            latents, enlarged, sample = self._cropped(sample, rng)
        image = self._decoded(latents, enlarged)
        record = StepRecord(
            clean=latents, hq=latents, image=lambda: image, hq_image=sample.hq, teacher_image=sample.teacher
        )
        loss, values = weighted_sum(self.objective.terms, record)
        image, sample = _shifted(image, sample, rng)
        for name, weight, value in self._compared(image, sample):
            loss = loss + weight * value
            values[name] = value.detach()
        scalars = {name: float(value) for name, value in values.items()}
        if self.critic is None:
            return Outcome(loss=loss, scalars=scalars)
        if progress >= self.objective.critics_from:
            adversarial = self.critic.generator_loss(image)
            loss = loss + self.objective.image_critic * adversarial
            scalars["adversarial"] = float(adversarial.detach())
        judged = Judged(fake={"image": image}, real={"image": sample.hq})
        return Outcome(loss=loss, scalars=scalars, judged=judged)

    def _decoded(self, latents: Latent, enlarged: Image) -> Image:
        """What the end that learns paints; the faithful one on features that stay as they are."""
        if self.objective.end == "detailed":
            return self.decoder(latents, enlarged)
        with torch.no_grad():
            features = self.decoder.features(latents, enlarged)
        return enlarged + self.decoder.faithful(features)

    def _compared(self, image: Tensor, sample: Sample) -> list[tuple[str, float, Tensor]]:
        """The terms on ImageNet features: name, weight, value."""
        if self.network is None:
            return []
        restored, values = self.network(image), []
        if self.objective.taught:
            assert sample.teacher is not None, "this stage needs a teacher's answers"
            with torch.no_grad():
                answer = self.network(sample.teacher)
            values.append(("taught", self.objective.taught, feature_distance(restored, answer).mean()))
        if self.objective.features:
            with torch.no_grad():
                truth = self.network(sample.hq)
            values.append(("features", self.objective.features, dists(restored, truth).mean()))
        return values

    @torch.no_grad()
    def _cropped(self, sample: Sample, rng: torch.Generator) -> tuple[Latent, Image, Sample]:
        """One crop of each pair: its part of the restored latent, of the enlarged photo, and of its targets."""
        latents = self._restored_latents(sample)
        enlarged = photograph_of(self.restorer, sample).enlarged()
        factor, side = self.restorer.factor, self.objective.crop_px
        size = (latents.shape[-2], latents.shape[-1])
        cells = [_crop(size, side // factor, rng) for _ in range(len(sample.hq))]
        regions = [each.scaled(factor) for each in cells]
        teacher = None if sample.teacher is None else _parts(sample.teacher, regions)
        cropped = Sample(hq=_parts(sample.hq, regions), teacher=teacher)
        return _parts(latents, cells), _parts(enlarged, regions), cropped

    def _cropped_pairs(self, sample: Sample, rng: torch.Generator) -> Sample:
        """One crop of each pair, LQ photo and all, on places that both sizes have."""
        assert sample.lq is not None, "pairs have an LQ photo"
        height, width = sample.lq.shape[-2:]
        scale = sample.hq.shape[-1] // width
        step = self.restorer.factor // math.gcd(self.restorer.factor, scale)
        side = self.objective.crop_px // scale // step
        cells = [_crop((height // step, width // step), side, rng) for _ in range(len(sample.hq))]
        low, high = [each.scaled(step) for each in cells], [each.scaled(step * scale) for each in cells]
        teacher = None if sample.teacher is None else _parts(sample.teacher, high)
        return Sample(hq=_parts(sample.hq, high), lq=_parts(sample.lq, low), teacher=teacher)

    @torch.no_grad()
    def _restored_latents(self, sample: Sample) -> Latent:
        """The latents that the method restores, each made when its pair is first seen."""
        if sample.numbers is None:
            return self._restored(sample)
        new = [place for place, number in enumerate(sample.numbers) if number not in self._latents]
        if new:
            assert sample.lq is not None, "pairs have an LQ photo"
            made = self._restored(Sample(hq=sample.hq[new], lq=sample.lq[new]))
            self._latents |= {sample.numbers[place]: one.half() for place, one in zip(new, made, strict=True)}
        return torch.stack([self._latents[number].float() for number in sample.numbers])

    def _restored(self, sample: Sample) -> Latent:
        noise, plan = CanvasNoise(seeds=tuple(range(len(sample.hq)))), self.objective.plan
        seen = self.restorer.observe(photograph_of(self.restorer, sample), None, noise)
        noisy = self.restorer.start(seen, plan.start_time, noise)
        return self.restorer.denoise(noisy, plan.start_time, seen, plan.guidance).float()

    @torch.no_grad()
    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Image]:
        few = first(sample, PREVIEWS)
        return {"bicubic": photograph_of(self.restorer, few).enlarged(), "restored": self._image(few), "photo": few.hq}

    @torch.no_grad()
    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        image = self._image(sample)
        figures = nearness(image, sample.hq)
        if self.network is not None:
            figures["features"] = float(dists(self.network(image), self.network(sample.hq)).mean())
        return figures

    def _image(self, sample: Sample) -> Image:
        enlarged = photograph_of(self.restorer, sample).enlarged()
        return self._decoded(self._restored(sample), enlarged).clamp(0, 1)


def _shifted(image: Image, sample: Sample, rng: torch.Generator) -> tuple[Tensor, Sample]:
    """The pictures without up to `OFFSETS_PX` rows and columns at the top left, a multiple of 8 px a side.

    Networks of features have a grid of their own, and where it always lies on the decoder's cells in the same way,
    their gradients draw it.
    """
    top, left = (int(offset) for offset in torch.randint(OFFSETS_PX, (2,), generator=rng))
    region = Region(top=top, left=left, height=image.shape[-2] - OFFSETS_PX, width=image.shape[-1] - OFFSETS_PX)
    teacher = None if sample.teacher is None else sample.teacher[region.slices]
    return image[region.slices], Sample(hq=sample.hq[region.slices], teacher=teacher)


def _crop(size: tuple[int, int], side: int, rng: torch.Generator) -> Region:
    """A square of that side at random, the whole where it is no larger."""
    height, width = (min(side, length) for length in size)
    top, left = (
        int(torch.randint(length - inner + 1, (), generator=rng))
        for length, inner in zip(size, (height, width), strict=True)
    )
    return Region(top=top, left=left, height=height, width=width)


def _parts(values: Tensor, regions: Sequence[Region]) -> Tensor:
    """One region of each sample."""
    return torch.stack([value[region.slices] for value, region in zip(values, regions, strict=True)])
