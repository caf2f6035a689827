"""What a user's choices of start, steps and fidelity do to results: tables of one method under several requests."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from sdsr.data.degradation import LowImage
from sdsr.images.floats import image, quantize
from sdsr.images.resize import resample
from sdsr.losses.filters import gaussian_blur
from sdsr.metrics.benchmark import Scores, score_photo
from sdsr.metrics.pairs import Pair
from sdsr.metrics.planes import Pixels
from sdsr.metrics.protocol import Protocol
from sdsr.photos.photo import Photo
from sdsr.studies.subjects import Subject
from sdsr.tensors import Image

if TYPE_CHECKING:
    from sdsr.upscaling import Request, Upscaler

FIDELITIES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A synthetic LQ photo: reduced, blurred by a Gaussian of `blur` px, then noised by `noise` (of the range's 1)."""

    name: str
    blur: float = 0.0
    noise: float = 0.0

    def of(self, truth: Image, scale: int, rng: torch.Generator) -> LowImage:
        """Return it for photos whose sides are multiples of `scale`."""
        height, width = (side // scale for side in truth.shape[-2:])
        reduced = resample(truth, (height, width))
        blurred = gaussian_blur(reduced, self.blur) if self.blur else reduced
        return (blurred + self.noise * torch.randn(blurred.shape, generator=rng)).clamp(0, 1)


DAMAGES = (
    Damage(name="clean"),
    Damage(name="noisy", noise=12 / 255),
    Damage(name="very noisy", noise=30 / 255),
    Damage(name="blurred", blur=1.3),
    Damage(name="very blurred", blur=2.5),
    Damage(name="blurred and noisy", blur=1.3, noise=12 / 255),
)


def scored(
    upscaler: "Upscaler",
    subjects: Sequence[Subject],
    requests: "Mapping[str, Request]",
    protocol: Protocol,
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, Scores]:
    """Return the scores of each request on the same photos, each restored to its truth's size."""

    def results(subject: Subject) -> Iterator[tuple[str, Pixels]]:
        lq, size = subject.lq(), subject.truth().shape[:2]
        for label, request in requests.items():
            yield label, _restored(upscaler, lq, size, request)

    return tabulated(subjects, results, protocol, on_done)


def tabulated(
    subjects: Sequence[Subject],
    results: Callable[[Subject], Iterable[tuple[str, Pixels]]],
    protocol: Protocol,
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, Scores]:
    """Return the scores of each label on the same photos; `results` are those of one photo, one for each label."""
    rows: dict[str, list] = {}
    for subject in subjects:
        truth = subject.truth()
        for label, pixels in results(subject):
            rows.setdefault(label, []).append(score_photo(_pair(subject.name, pixels, truth), protocol))
            on_done()
    names = tuple(subject.name for subject in subjects)
    return {
        label: Scores(protocol=protocol, names=names, values=_stacked(values, protocol))
        for label, values in rows.items()
    }


def damaged(subject: Subject, damage: Damage, scale: int, seed: int) -> Subject:
    """Return the subject with this damage in place of its own."""

    def lq() -> Photo:
        truth = image(Photo(pixels=subject.truth()))
        rng = torch.Generator().manual_seed(seed)
        return Photo(pixels=quantize(damage.of(truth, scale, rng), np.uint8))

    return replace(subject, lq=lq)


def distances(upscaler: "Upscaler", photo: Photo, request: "Request") -> dict[float, float]:
    """Return how far a result is from the photo enlarged, at each of `FIDELITIES`: the root mean square, of 255."""
    width, height = request.size(photo.size[1], photo.size[0])
    enlarged = resample(image(photo), (height, width)).clamp(0, 1)
    found = {}
    for fidelity in FIDELITIES:
        result = image(upscaler.upscale(photo, replace(request, fidelity=fidelity)))
        found[fidelity] = 255 * float((result - enlarged).square().mean().sqrt())
    return found


def distances_csv(of: Mapping[str, Mapping[float, float]]) -> str:
    """A line for each photo and fidelity."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["photo", "fidelity", "distance"])
    for name, by_fidelity in of.items():
        writer.writerows([name, fidelity, f"{distance:.4f}"] for fidelity, distance in by_fidelity.items())
    return text.getvalue()


def _restored(upscaler: "Upscaler", lq: Photo, size: tuple[int, ...], request: "Request") -> Pixels:
    return upscaler.upscale(lq, replace(request, height=size[0], width=size[1])).pixels


def _pair(name: str, result: Pixels, truth: Pixels) -> Pair:
    return Pair(name=name, result=lambda: result, truth=lambda: truth)


def _stacked(rows: Sequence[Mapping[str, float | np.ndarray]], protocol: Protocol) -> dict[str, np.ndarray]:
    return {measure.name: np.array([row[measure.name] for row in rows]) for measure in protocol.measures}
