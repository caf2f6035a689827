"""Decoding: train a method's own decoder on what the method restores, with or without the UNet before it.

A teacher's answers give edges a place to be (terms `taught*`), the HQ photos what it paints away, and a discriminator
what both average out. While the UNet is frozen, latents are restored once per pair and kept; once the decoder knows
what to do with them, both can learn as one network (`whole`), so that the latent holds what the decoder needs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from sdsr.adapters.guided_decoder import GuidedDecoder
from sdsr.diffusion.noise import CanvasNoise
from sdsr.losses.dists import dists
from sdsr.losses.efficientnet import LiteName, load_efficientnet_lite
from sdsr.losses.filters import sobel
from sdsr.losses.perceptual import FeatureDistance, distance_by, feature_distance
from sdsr.losses.terms import (
    Scalar,
    StepRecord,
    Term,
    against_teacher,
    image_l1,
    in_turn,
    in_window,
    perceptual,
)
from sdsr.objectives.discriminator import Adversary
from sdsr.objectives.pairs import lq_image_of, nearness, offset_window
from sdsr.objectives.restored import RestoredLatents
from sdsr.objectives.restorer_step import AdversarialWeights, Preview, RestorerStep
from sdsr.objectives.training_step import Sample
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer
from sdsr.restoration.sample import sample as restore
from sdsr.tensors import Image, Latent, Region

End = Literal["detailed", "faithful", "both"]
IN_TURN: tuple[LiteName, ...] = ("lite1", "lite0")
"""The networks that look at a step in turn, by their turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """The plan that restores the latents, which end of the decoder learns, and what is compared.

    Each pair gives one crop of `crop_px` per use. `end`: which end learns; "both": the faithful one learns by itself,
    from features that it doesn't change (`faithful_image` in the record). `terms` are on pixels. Distances of ImageNet
    features are those of `network`, an EfficientNet-Lite; "in turn": of Lite1 or Lite0, as each step draws, for what
    one of them doesn't see the other does. `taught` weighs LPIPS's form of it to the teacher's answer, `features`
    DISTS's form to the HQ photo, `edges` the same of both pictures' Sobel edges (together they have the form of
    EA-DISTS, arXiv:2410.04224, Eq. 11), `adversarial_image` what the discriminator says, from `adversarial_from` (a
    share of the run) on. `whole`: the UNet learns beside the decoder's detailed end.
    """

    plan: Plan
    end: End = "detailed"
    whole: bool = False
    crop_px: int = 160
    terms: tuple[Term, ...] = (Term(name="taught_image", weight=1.0, function=partial(against_teacher, image_l1)),)
    network: Literal["lite0", "lite1", "in turn"] = "lite0"
    taught: float = 0.0
    features: float = 0.0
    edges: float = 0.0
    adversarial_image: float = 0.0
    adversarial_from: float = 0.0

    def training_step(self, restorer: Restorer, discriminator: nn.Module | None) -> RestorerStep:
        assert discriminator is None or isinstance(discriminator, Adversary), "a discriminator watches this"
        rule = GuidedDecodingStep(restorer, self)
        modules: dict[str, nn.Module] = {"decoder": rule.decoder}
        if self.whole:
            modules["unet"] = restorer.parts.modules["unet"]
        networks = [load_efficientnet_lite(name) for name in self._looking]
        if networks:
            modules["network"] = networks[0] if len(networks) == 1 else nn.ModuleList(networks)
        return RestorerStep(
            rule,
            self.all_terms(networks),
            discriminator=discriminator,
            adversarial_weights=AdversarialWeights(
                weights={"image": self.adversarial_image}, since=self.adversarial_from
            ),
            modules=modules,
            near=partial(_near, networks[0]) if networks else nearness,
        )

    @property
    def _looking(self) -> tuple[LiteName, ...]:
        """The networks whose features are compared."""
        if not (self.taught or self.features or self.edges):
            return ()
        return IN_TURN if self.network == "in turn" else (self.network,)

    def turn(self, rng: Generator) -> int:
        """Draw which of the networks looks at a step."""
        return int(torch.randint(len(self._looking), (), generator=rng)) if len(self._looking) > 1 else 0

    def all_terms(self, networks: Sequence[nn.Module]) -> tuple[Term, ...]:
        """Return the terms on pixels, and those on the features of networks that weigh anything."""
        weighed = (
            ("taught", self.taught, [partial(against_teacher, _seen_by(each, feature_distance)) for each in networks]),
            ("features", self.features, [_seen_by(each, dists) for each in networks]),
            ("edges", self.edges, [partial(perceptual, partial(_edge_distance, each)) for each in networks]),
        )
        return self.terms + tuple(
            Term(name=name, weight=weight, function=partial(in_window, partial(in_turn, functions)))
            for name, weight, functions in weighed
            if weight
        )


def _seen_by(network: nn.Module, distance: FeatureDistance) -> Callable[[StepRecord], Scalar]:
    return partial(perceptual, partial(distance_by, network, distance))


def _edge_distance(network: nn.Module, image: Image, target: Image) -> Tensor:
    """Return DISTS's form of the distance between two pictures' edges."""
    return distance_by(network, dists, *(sobel(each).expand_as(each) for each in (image, target)))


def _near(network: nn.Module, restored: Image, hq: Image) -> dict[str, float]:
    return nearness(restored, hq) | {"features": float(distance_by(network, dists, restored, hq).mean())}


class GuidedDecodingStep:
    """Decodes crops of what the method restored; one end of its decoder learns, the detailed one with all before it."""

    def __init__(self, restorer: Restorer, objective: Decoding) -> None:
        self.restorer = restorer
        self.objective = objective
        decoder = restorer.parts.modules["decoder"]
        assert isinstance(decoder, GuidedDecoder), "this objective trains a guided decoder"
        self.decoder = decoder
        self.latents = RestoredLatents(self.restored, dtype=torch.float16)

    def take(self, sample: Sample, rng: Generator) -> StepRecord:
        if self.objective.whole:
            sample = self._cropped_pairs(sample, rng)
            latents = self.restored(sample, _numbered_noise(sample))
            enlarged = lq_image_of(self.restorer, sample).enlarged()
        else:
            latents, enlarged, sample = self._cropped(sample, rng)
        image, faithful = self._painted(latents, enlarged)
        return StepRecord(
            clean=latents,
            hq=latents,
            image=lambda: image,
            hq_image=sample.hq,
            teacher_image=sample.teacher,
            faithful_image=faithful,
            window=offset_window(image, rng),
            turn=self.objective.turn(rng),
        )

    def _painted(self, latents: Latent, enlarged: Image) -> tuple[Image, Image | None]:
        """What the end that learns paints, and what the faithful one does beside it; that one changes no features."""
        end = self.objective.end
        with torch.set_grad_enabled(torch.is_grad_enabled() and end != "faithful"):
            features = self.decoder.features(latents, enlarged)
        if end == "faithful":
            return enlarged + self.decoder.faithful(features), None
        detailed = enlarged + self.decoder.detailed(features)
        return detailed, enlarged + self.decoder.faithful(features.detach()) if end == "both" else None

    @torch.no_grad()
    def _cropped(self, sample: Sample, rng: torch.Generator) -> tuple[Latent, Image, Sample]:
        """One crop of each pair: its part of the restored latent, of the enlarged photo, and of its targets."""
        latents = self._restored_latents(sample)
        enlarged = lq_image_of(self.restorer, sample).enlarged()
        factor = self.restorer.factor
        side = self.objective.crop_px
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
        low = [each.scaled(step) for each in cells]
        high = [each.scaled(step * scale) for each in cells]
        teacher = None if sample.teacher is None else _parts(sample.teacher, high)
        return Sample(hq=_parts(sample.hq, high), lq=_parts(sample.lq, low), teacher=teacher)

    def _restored_latents(self, sample: Sample) -> Latent:
        """The latents that the method restores, each made when its pair is first seen, alone."""
        if sample.numbers is None:
            return self.restored(sample, _numbered_noise(sample))
        assert sample.lq is not None, "pairs have an LQ photo"
        pairs = zip(sample.hq.split(1), sample.lq.split(1), sample.numbers, strict=True)
        return torch.cat([self.latents.of(Sample(hq=hq, lq=lq, numbers=(number,))) for hq, lq, number in pairs])

    def restored(self, sample: Sample, noise: CanvasNoise) -> Latent:
        """What the method restores in all steps of the plan; with its gradients where it learns, in one."""
        plan = self.objective.plan
        lq_image = lq_image_of(self.restorer, sample)
        if not self.objective.whole:
            return restore(self.restorer, lq_image, plan, noise).clean.float()
        encoded = self.restorer.encode_lq(lq_image, None, noise)
        noisy = self.restorer.start(encoded, plan.start_time, noise)
        return self.restorer.denoise(noisy, plan.start_time, encoded, plan.guidance).float()

    def previews(self, sample: Sample, rng: Generator) -> list[Preview]:
        enlarged = lq_image_of(self.restorer, sample).enlarged()
        image, _ = self._painted(self.restored(sample, _numbered_noise(sample)), enlarged)
        return [Preview(image=image.clamp(0, 1))]


def _numbered_noise(sample: Sample) -> CanvasNoise:
    """Noise by the pairs' places in the batch, the same for each batch."""
    return CanvasNoise(seeds=tuple(range(len(sample.hq))))


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
