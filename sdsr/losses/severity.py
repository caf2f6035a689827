"""How the small perceptual network learns: from photos and defects of known severity, without any human label.

Three lessons, one step: the distance to the clean photo ranks the versions of one defect by severity, and ranks a shift
of at most a pixel, which nobody sees, below them; the severities can be read off the features; two views of one
photo lie closer than views of two photos.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from sdsr.losses.filters import gaussian_blur, high_pass
from sdsr.losses.perceptual import feature_distance
from sdsr.losses.small_perceptual import WIDTHS, SmallPerceptual
from sdsr.tensors import Float, Image, Int

Severity = Float[Tensor, " b"]


def _between(low: float, high: float, severity: Severity) -> Severity:
    """Geometric interpolation: severity 0 gives `low`, 1 gives `high`."""
    return low * (high / low) ** severity


def _blurred(image: Image, severity: Severity, rng: Generator) -> Image:
    return gaussian_blur(image, _between(0.4, 4.0, severity))


def _noisy(image: Image, severity: Severity, rng: Generator) -> Image:
    deviation = _between(1 / 255, 50 / 255, severity).reshape(-1, 1, 1, 1)
    return image + deviation * _normal(image, rng)


def _coarse(image: Image, severity: Severity, rng: Generator) -> Image:
    """Reduced by 1.2 to 8 with antialiasing and enlarged again."""
    size = image.shape[-2:]
    versions = []
    for picture, factor in zip(image.split(1), _between(1.2, 8.0, severity).tolist(), strict=True):
        small = [max(4, round(side / factor)) for side in size]
        reduced = F.interpolate(picture, small, mode="bilinear", antialias=True)
        versions.append(F.interpolate(reduced, size, mode="bicubic"))
    return torch.cat(versions)


def _ringing(image: Image, severity: Severity, rng: Generator) -> Image:
    """Sharpened beyond reason: halos along edges."""
    return image + _between(0.2, 5.0, severity).reshape(-1, 1, 1, 1) * high_pass(image, 1.5)


def _blocky(image: Image, severity: Severity, rng: Generator) -> Image:
    """Cosine coefficients of 8x8 blocks rounded, the coarser the higher the frequency: the look of JPEG."""
    height, width = image.shape[-2:]
    index = torch.arange(8, dtype=image.dtype, device=image.device)
    cosines = torch.cos((2 * index + 1) * index[:, None] * math.pi / 16) / 2
    cosines[0] /= math.sqrt(2)
    padded = F.pad(image, (0, -width % 8, 0, -height % 8), "replicate")
    blocks = padded.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)
    step = _between(4 / 255, 160 / 255, severity).reshape(-1, 1, 1, 1, 1, 1) * (1 + (index + index[:, None]) / 4)
    coefficients = torch.round(cosines @ blocks @ cosines.mT / step) * step
    rounded = (cosines.mT @ coefficients @ cosines).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return rounded[..., :height, :width]


Defect = Callable[[Image, Severity, Generator], Image]
DEFECTS: dict[str, Defect] = {
    "blur": _blurred,
    "noise": _noisy,
    "coarse": _coarse,
    "ringing": _ringing,
    "blocks": _blocky,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityBatch:
    """Each photo in several versions of one defect, and once shifted by up to a pixel."""

    versions: Float[Tensor, "b v 3 height width"]
    severities: Float[Tensor, "b v"]
    """0 ... 1, on the defect's own geometric scale."""
    defects: Int[Tensor, " b"]
    """Index into `DEFECTS`."""
    shifted: Image


def severity_batch(hq: Image, rng: Generator, *, versions: int = 3) -> SeverityBatch:
    """Draws a defect for each photo and `versions` severities of it; `rng` is a CPU generator."""
    batch = hq.shape[0]
    defects = torch.randint(len(DEFECTS), (batch,), generator=rng)
    severities = torch.rand((batch, versions), generator=rng)
    degraded = hq[:, None].repeat(1, versions, 1, 1, 1)
    for index, defect in enumerate(DEFECTS.values()):
        chosen = (defects == index).nonzero().flatten()
        if len(chosen):
            copies = hq[chosen.to(hq.device)].repeat_interleave(versions, dim=0)
            spoiled = defect(copies, severities[chosen].flatten().to(hq), rng)
            degraded[chosen.to(hq.device)] = spoiled.clamp(0, 1).unflatten(0, (-1, versions)).to(hq.dtype)
    return SeverityBatch(
        versions=degraded,
        severities=severities.to(hq),
        defects=defects.to(hq.device),
        shifted=_shifted(hq, rng),
    )


class SeverityHeads(nn.Module):
    """What only training needs: severities and an embedding of the content, from features pooled over the picture."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS, embedding: int = 64) -> None:
        super().__init__()
        self.severities = nn.Sequential(nn.Linear(2 * sum(widths), 128), nn.GELU(), nn.Linear(128, len(DEFECTS)))
        # Without the normalisation all photos start with nearly the same embedding, and it takes long to part them.
        self.content = nn.Sequential(
            nn.LayerNorm(widths[-1]), nn.Linear(widths[-1], 128), nn.GELU(), nn.Linear(128, embedding)
        )

    def read_severities(self, features: list[Tensor]) -> Float[Tensor, "b defects"]:
        """One severity per defect, from mean and deviation of every channel."""
        means = [feature.mean(dim=(2, 3)) for feature in features]
        deviations = [(feature.var(dim=(2, 3)) + 1e-6).sqrt() for feature in features]
        return self.severities(torch.cat(means + deviations, dim=1))

    def embed(self, features: list[Tensor]) -> Float[Tensor, "b d"]:
        """Unit vectors from the coarsest map."""
        return F.normalize(self.content(features[-1].mean(dim=(2, 3))), dim=1)


def small_perceptual_loss(
    network: SmallPerceptual, heads: SeverityHeads, hq: Image, rng: Generator, *, versions: int = 3
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """One training step's loss on clean crops `hq`, and the value of each lesson.

    Costs 3 + `versions` passes of the network per crop. `ordered` is the share of pairs ranked rightly.
    """
    lesson = severity_batch(hq, rng, versions=versions)
    batch = hq.shape[0]
    pictures = torch.cat((hq, _view(hq, rng), lesson.shifted, lesson.versions.flatten(0, 1)))
    features = network(pictures)
    groups = [stage.split((batch, batch, batch, batch * versions)) for stage in features]
    clean, view, shifted, degraded = ([group[index] for group in groups] for index in range(4))
    ranking, ordered = _ranking_loss(network, lesson, (clean, shifted, degraded))
    wanted = F.one_hot(lesson.defects, len(DEFECTS)).to(hq).repeat_interleave(versions, dim=0)
    wanted = wanted * (0.1 + 0.9 * lesson.severities.reshape(-1, 1))
    reading = F.mse_loss(heads.read_severities(degraded), wanted)
    reading = reading + F.mse_loss(heads.read_severities(clean), torch.zeros_like(wanted[:batch]))
    content = _contrast(heads.embed(clean), heads.embed(view))
    values = {"ranking": ranking, "severity": reading, "content": content, "ordered": ordered}
    return ranking + 10 * reading + 0.2 * content, {name: value.detach() for name, value in values.items()}


def _ranking_loss(
    network: SmallPerceptual, lesson: SeverityBatch, features: tuple[list[Tensor], list[Tensor], list[Tensor]]
) -> tuple[Tensor, Tensor]:
    """Logistic loss on ratios of distances, so that only the order counts; and the share of pairs in order."""
    clean, shifted, degraded = features
    versions = lesson.severities.shape[1]
    references = [stage.repeat_interleave(versions, dim=0) for stage in clean]
    apart = feature_distance(degraded, references, network.weights).unflatten(0, (-1, versions))
    distances = apart.clamp_min(1e-8).log()
    harmless = feature_distance(shifted, clean, network.weights).clamp_min(1e-8).log()[:, None]
    first, second = torch.triu_indices(versions, versions, offset=1, device=distances.device)
    order = torch.sign(lesson.severities[:, first] - lesson.severities[:, second])
    logits = torch.cat((4 * order * (distances[:, first] - distances[:, second]), 4 * (distances - harmless)), dim=1)
    # A shift must lie below what is seen at a glance: the upper two thirds of each scale.
    seen = torch.cat((torch.ones_like(order), (lesson.severities > 1 / 3).to(order)), dim=1)
    count = seen.sum().clamp_min(1)
    return (F.softplus(-logits) * seen).sum() / count, ((logits > 0) * seen).sum() / count


def _contrast(first: Tensor, second: Tensor, temperature: float = 0.1) -> Tensor:
    """InfoNCE (arXiv:1807.03748) in both directions; row i of one belongs to row i of the other."""
    logits = first @ second.mT / temperature
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.mT, own)) / 2


def _shifted(image: Image, rng: Generator) -> Image:
    """Moved by up to one pixel each way, borders replicated, interpolated bicubically."""
    batch, _, height, width = image.shape
    offsets = 2 * torch.rand((batch, 2), generator=rng) - 1
    affine = torch.eye(2, 3).repeat(batch, 1, 1)
    affine[:, :, 2] = offsets * torch.tensor([2 / width, 2 / height])
    grid = F.affine_grid(affine.to(image), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(0, 1)


def _view(image: Image, rng: Generator) -> Image:
    """Another view of each photo: a crop of 60 to 100 % of the side, enlarged, often mirrored, in other light."""
    batch = image.shape[0]
    zoom, across, down, flip, gain, gamma = torch.rand((6, batch), generator=rng)
    zoom = 0.6 + 0.4 * zoom
    affine = torch.zeros(batch, 2, 3)
    affine[:, 0, 0] = zoom * torch.where(flip < 0.5, -1.0, 1.0)
    affine[:, 1, 1] = zoom
    affine[:, :, 2] = (1 - zoom)[:, None] * (2 * torch.stack((across, down), dim=1) - 1)
    grid = F.affine_grid(affine.to(image), list(image.shape), align_corners=False)
    cropped = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False).clamp(1e-4, 1)
    gain, gamma = (values.to(image).reshape(-1, 1, 1, 1) for values in (0.7 + 0.3 * gain, 0.7 + 0.7 * gamma))
    return gain * cropped**gamma


def _normal(like: Tensor, rng: Generator) -> Tensor:
    return torch.randn(like.shape, generator=rng).to(like)
