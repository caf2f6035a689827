"""The default's stage `whole` as a step that a CUDA graph can hold: nothing in it waits for the card or copies to it.

The losses are the stage's, with what is the same in several of them computed once: the features of the restored
picture, which three losses and the discriminator look at, and those of the photo. The faithful end learns beside, from
features that it doesn't change. Filters are written again where the loss terms' own copy a kernel to the card at each
call (`sdsr/losses/filters.py`), which no graph can hold; a test holds each term to the stage's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdsr.adapters.guided_decoder import GuidedDecoder
from sdsr.discriminators.projected import ProjectedDiscriminator
from sdsr.losses.adversarial import HINGE
from sdsr.losses.dists import dists
from sdsr.losses.efficientnet import EfficientNetLite
from sdsr.losses.filters import differences, local_energies
from sdsr.losses.perceptual import feature_distance
from sdsr.losses.real_esrgan import RealEsrgan
from sdsr.losses.spectrum import line_heights
from sdsr.losses.terms import StepRecord, blotches, drift
from sdsr.methods.one_step.small import PLAN
from sdsr.restoration.prompting import FixedPromptConditioner
from sdsr.restoration.restorer import Restorer
from sdsr.tensors import Image, Latent

OFFSETS_PX = 8
_PERIOD_PX = 8
_CELLS = 4
_SIGMA = 3.0


@dataclass(slots=True, kw_only=True)
class Batch:
    """What a step reads, each at a place of its own on the card: HQ, LQ, the enlarged LQ photo and its latent."""

    hq: Image
    lq: Tensor
    enlarged: Image
    latent: Latent

    def take(self, other: "Batch") -> None:
        for each in fields(self):
            getattr(self, each.name).copy_(getattr(other, each.name), non_blocking=True)


WEIGHTS: Mapping[str, float] = {
    "taught_image": 0.3,
    "taught": 0.3,
    "taught_energy": 40.0,
    "image": 0.1,
    "gradient": 0.1,
    "features": 0.5,
    "edges": 0.15,
    "lattice": 2.0,
    "spectral_peaks": 0.1,
    "drift": 1.0,
    "blotches": 2.0,
    "fringes": 1.0,
    "adversarial": 0.08,
    "faithful": 1.0,
}
"""Of the terms; those of the default in the package."""


class DefaultStep(nn.Module):
    """Losses of the default's UNet and decoder, and of the discriminator beside them.

    `weights` are on the card, so that they can be changed while a graph holds their place.
    """

    def __init__(self, restorer: Restorer, teacher: RealEsrgan, network: EfficientNetLite) -> None:
        super().__init__()
        device = restorer.prior.device
        unet, decoder = (restorer.parts.modules[name] for name in ("unet", "decoder"))
        assert isinstance(decoder, GuidedDecoder), "the default has a decoder of its own"
        self.unet = unet
        self.decoder = decoder
        self.teacher = teacher
        self.network = network
        self.judge = ProjectedDiscriminator(network).to(device)
        self.weights = {name: torch.tensor(weight, device=device) for name, weight in WEIGHTS.items()}
        time = PLAN.start_time
        self.signal, self.sigma = (float(curve(time)) for curve in (restorer.schedule.signal, restorer.schedule.sigma))
        self.time = torch.tensor([float(time)], device=device)
        conditioner = restorer.parts.conditioner
        assert isinstance(conditioner, FixedPromptConditioner), "the default is told one prompt, whatever the photo"
        self.prompt = conditioner.prompt.tokens.detach().float().to(device)

    def trained(self) -> list[nn.Parameter]:
        """The parameters of the main side."""
        return [*self.unet.parameters(), *self.decoder.parameters()]

    def restored(self, batch: Batch) -> tuple[Image, Image]:
        """Return what the detailed end paints, and the faithful one."""
        count = len(batch.latent)
        predicted = self.unet(
            batch.latent,
            self.time.expand(count),
            encoder_hidden_states=self.prompt.expand(count, -1, -1),
            return_dict=False,
        )[0]
        clean = (batch.latent - self.sigma * predicted.float()) / self.signal
        features = self.decoder.features(clean, batch.enlarged)
        detailed = batch.enlarged + self.decoder.detailed(features)
        return detailed, batch.enlarged + self.decoder.faithful(features.detach())

    def losses(self, batch: Batch, offset: tuple[int, int]) -> tuple[dict[str, Tensor], list[Tensor], list[Tensor]]:
        """Return the terms, and the features of both pictures, the teacher's first, without gradients.

        The discriminator learns from them what is real and what isn't.
        """
        with torch.no_grad():
            taught = self.teacher(batch.lq.to(self.teacher.conv_first.weight.dtype)).float()
        image, faithful = self.restored(batch)
        hq, target, picture = (_window(each, offset) for each in (batch.hq, taught, image))
        seen = self.network(picture)
        with torch.no_grad():
            hq_seen, target_seen = (self.network(each) for each in (hq, target))
            edges_wanted = self.network(_edges(hq))
        for parameter in self.judge.heads.parameters():
            parameter.requires_grad_(False)
        verdict = HINGE.generator(self.judge.judge(seen))
        for parameter in self.judge.heads.parameters():
            parameter.requires_grad_(True)
        record = StepRecord(clean=batch.latent, hq=batch.latent, image=lambda: image, hq_image=batch.hq)
        terms = {
            "taught_image": F.l1_loss(image, taught),
            "taught": _lpips(seen, target_seen),
            "taught_energy": F.l1_loss(local_energies(image), local_energies(taught)),
            "image": F.l1_loss(image, batch.hq),
            "gradient": _gradient_l1(image, batch.hq),
            "features": _dists(seen, hq_seen),
            "edges": _dists(self.network(_edges(picture)), edges_wanted),
            "lattice": _lattice(image, batch.hq),
            "spectral_peaks": _spectral_peaks(image, batch.hq),
            "drift": drift(16, record),
            "blotches": blotches(4, record),
            "fringes": blotches(1, record),
            "adversarial": verdict,
            "faithful": F.l1_loss(faithful, batch.hq),
        }
        return terms, target_seen, [each.detach() for each in seen]

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()

    def verdict(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
        """Return the discriminator's own loss."""
        return HINGE.discriminator(self.judge.judge(real), self.judge.judge(fake))


def _window(image: Image, offset: tuple[int, int]) -> Image:
    top, left = offset
    return image[..., top : top + image.shape[-2] - OFFSETS_PX, left : left + image.shape[-1] - OFFSETS_PX]


def _dists(features: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    return dists(_wide(features), _wide(wanted)).mean()


def _lpips(features: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    return feature_distance(_wide(features), _wide(wanted)).mean()


def _wide(features: Sequence[Tensor]) -> list[Tensor]:
    return [each.float() for each in features]


def _edges(image: Image) -> Image:
    """Sobel edges as the loss term has them (`sdsr/losses/filters.py`), by sums of shifted pictures."""
    mean = F.pad(image.float().mean(1, keepdim=True), (1, 1, 1, 1))
    down = mean[..., :-2, :] + 2 * mean[..., 1:-1, :] + mean[..., 2:, :]
    across = mean[..., :-2] + 2 * mean[..., 1:-1] + mean[..., 2:]
    horizontal = down[..., 2:] - down[..., :-2]
    vertical = across[..., 2:, :] - across[..., :-2, :]
    return (horizontal.square() + vertical.square() + 1e-6).sqrt().expand(-1, 3, -1, -1)


def _gradient_l1(image: Image, target: Image) -> Tensor:
    across, down = differences(image - target)
    return (across.abs().mean() + down.abs().mean()) / 2


@lru_cache(maxsize=8)
def _blur(side: int, device: torch.device) -> Tensor:
    """A Gaussian of 3 px with replicated borders, as a matrix."""
    radius = int(3 * _SIGMA + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    taps = torch.softmax(-0.5 * (offsets / _SIGMA).square(), dim=0)
    places = (torch.arange(side)[:, None] + offsets).clamp(0, side - 1)
    return torch.zeros(side, side).scatter_add_(1, places, taps.expand(side, -1).contiguous()).to(device)


def _lattice(image: Image, target: Image) -> Tensor:
    """The stage's term `lattice`; it is linear, so the pictures' difference has the same pattern as they have."""
    error = (image - target).float()
    with torch.autocast(error.device.type, enabled=False):
        down, across = (_blur(side, error.device) for side in error.shape[-2:])
        detail = error - down @ error @ across.mT
    return F.avg_pool2d(F.pixel_unshuffle(detail, _PERIOD_PX), _CELLS, stride=_CELLS // 2).abs().mean()


def _spectral_peaks(image: Image, target: Image) -> Tensor:
    excess = [F.relu(line_heights(image, axis) - line_heights(target, axis).detach()).mean() for axis in (-2, -1)]
    return (excess[0] + excess[1]) / 2
