"""Noise matching of a whole small prior, from nothing but photos: its UNet, prompts and image encoder together."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdsr.diffusion.steps import deterministic
from sdsr.diffusion.times import spaced
from sdsr.objectives.noise_matching import noise_matching_loss, weight_in_pixels
from sdsr.objectives.training_step import Outcome, Sample
from sdsr.prior.condition import Condition
from sdsr.prior.prior import Prior
from sdsr.tensors import Image

PREVIEW_STEPS = 25
PREVIEWS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorMatching:
    """How often a photo is shown degraded, under the prompt "degraded", and how often each condition is withheld.

    `in_pixels` weighs errors as `NoiseMatching` does.
    """

    degraded_share: float = 0.25
    token_dropout: float = 0.2
    prompt_dropout: float = 0.1
    in_pixels: bool = False

    def training_step(self, model: Prior, discriminator: nn.Module | None) -> "PriorStep":
        return PriorStep(model, self)


class PriorStep(nn.Module):
    """Trains UNet, prompt table and image encoder of a small prior together; its autoencoder is frozen."""

    discriminator: None = None

    def __init__(self, prior: Prior, objective: PriorMatching) -> None:
        super().__init__()
        self.prior = prior
        self.objective = objective
        self.trained = nn.ModuleDict({name: prior.modules[name] for name in ("unet", "prompts", "image_encoder")})
        self.trained.requires_grad_(True)
        self.autoencoder = prior.modules["autoencoder"].requires_grad_(False)
        self._channels = weight_in_pixels(prior) if objective.in_pixels else None

    @property
    def trainable_modules(self) -> dict[str, nn.Module]:
        return dict(self.trained.items())

    def forward(self, sample: Sample, rng: torch.Generator, progress: float = 0.0) -> Outcome:
        chance = torch.rand((3, len(sample.hq)), generator=rng)
        degraded, unprompted, tokenless = chance < torch.tensor(
            [[self.objective.degraded_share], [self.objective.prompt_dropout], [self.objective.token_dropout]]
        )
        with torch.no_grad():
            clean = self.prior.encode(_mixed(sample, degraded))
        t = torch.randint(self.prior.schedule.steps, (len(clean),), generator=rng)
        noisy = self.prior.schedule.noisy(clean, torch.randn(clean.shape, generator=rng).to(clean), t)
        condition = self.condition(sample.hq, degraded, unprompted, tokenless)
        loss = noise_matching_loss(self.prior, noisy, clean, t, condition, channels=self._channels)
        return Outcome(loss=loss, scalars={"noise": loss.detach()})

    def condition(self, photo: Image, degraded: Tensor, unprompted: Tensor, tokenless: Tensor) -> Condition:
        """Return what the UNet is told: a prompt and the photo's token, or their empty forms where withheld."""
        names = ["" if no else ("degraded" if bad else "clean") for no, bad in zip(unprompted, degraded, strict=True)]
        prompts = self.trained["prompts"]
        encoder = self.trained["image_encoder"]
        tokens = prompts(names, encoder(photo))
        null = prompts(names)
        return Condition(prompt=torch.where(tokenless.to(tokens.device)[:, None, None], null, tokens))

    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        """Return the noise error at three fixed times, with every condition given."""
        clean = self.prior.encode(sample.hq)
        none = torch.zeros(len(clean), dtype=torch.bool)
        condition = self.condition(sample.hq, none, none, none)
        figures = {}
        for time in (100, 400, 800):
            t = torch.full((len(clean),), time)
            noisy = self.prior.schedule.noisy(clean, torch.randn(clean.shape, generator=rng).to(clean), t)
            figures[f"noise_{time}"] = float(noise_matching_loss(self.prior, noisy, clean, t, condition))
        return figures

    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Image]:
        """Return photos, samples that know a photo's token, and samples that know the prompt alone."""
        photo = sample.hq[:PREVIEWS]
        none = torch.zeros(len(photo), dtype=torch.bool)
        guided = self._sample(self.condition(photo, none, none, none), rng)
        free = self._sample(self.condition(photo, none, none, ~none), rng)
        return {"photo": photo, "sampled with its token": guided, "sampled": free}

    def _sample(self, condition: Condition, rng: torch.Generator) -> Image:
        prior = self.prior
        size = self.prior.native_px // self.prior.factor // 2
        noisy = torch.randn(len(condition.prompt), prior.channels, size, size, generator=rng).to(prior.device)
        times = spaced(PREVIEW_STEPS)
        for t, to in zip(times, (*times[1:], None), strict=True):
            clean = prior.denoise(noisy, t, condition)
            if to is None:
                return prior.decode(clean).clamp(0, 1)
            noisy = deterministic(prior.schedule, noisy, clean, t, to, noisy)
        raise AssertionError("there is at least one time")


def _mixed(sample: Sample, degraded: Tensor) -> Image:
    """Return HQ photos, and where `degraded` the enlarged LQ ones."""
    if sample.lq is None:
        return sample.hq
    enlarged = F.interpolate(sample.lq, sample.hq.shape[-2:], mode="bicubic", antialias=True).clamp(0, 1)
    return torch.where(degraded.to(sample.hq.device)[:, None, None, None], enlarged, sample.hq)
