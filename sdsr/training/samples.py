"""What a stage trains on: HQ crops and, where it has a degradation, their LQ versions, as a function of the step."""

from collections.abc import Callable, Iterator
from itertools import islice, pairwise

import torch

from sdsr.data.batches import Batch, Crops, PairedCrops, Sampling, make_pairs, shuffled_indices
from sdsr.data.degradation import degradation
from sdsr.data.passing import Passing
from sdsr.data.photos import PairSet, PhotoSet
from sdsr.data.taught import TaughtPairs
from sdsr.methods.recipe import Stage
from sdsr.objectives.training_step import Reusing, Sample
from sdsr.region import Region

CACHE_BYTES = 2 << 30


def make_source(photos: PhotoSet | PairSet | TaughtPairs, stage: Stage, sampling: Sampling) -> Callable[[int], Sample]:
    """Return step -> Sample on the CPU. Pairs bring their own LQ, so the stage's degradation is not applied to them.

    Where the objective takes batches again, it says which one a step takes.
    """
    batches = _batches(photos, stage, sampling)
    objective = stage.objective
    if not isinstance(objective, Reusing):
        return batches
    return lambda step: batches(objective.batch_of(step, sampling.seed))


def _batches(photos: PhotoSet | PairSet | TaughtPairs, stage: Stage, sampling: Sampling) -> Callable[[int], Sample]:
    if isinstance(photos, TaughtPairs):
        return lambda step: _taught(photos, sampling, step)
    if isinstance(photos, PairSet):
        pairs = PairedCrops(photos, sampling)
        return lambda step: _paired(pairs, step)
    crops = Crops(photos, sampling)
    return lambda step: to_sample(crops.batch(step), stage.degradation, tuple(sampling.numbers(step)))


def to_sample(batch: Batch, degradation_name: str | None, numbers: tuple[int, ...] | None = None) -> Sample:
    """Return the batch's photos, degraded by the named table."""
    if degradation_name is None:
        return Sample(hq=batch.hq, numbers=numbers)
    pairs = make_pairs(batch, degradation(degradation_name))
    return Sample(hq=pairs.hq, lq=pairs.lq, numbers=numbers)


def validation_samples(photos: PhotoSet, stage: Stage, *, crop_px: int, limit: int, batch: int = 8) -> list[Sample]:
    """Return the middle squares of the first `limit` photos that can be used, degraded by fixed seeds."""
    usable = Passing(len(photos)).usable(range(len(photos)), photos.__getitem__)
    crops = [(index, _middle(photo, crop_px)) for index, photo in islice(usable, limit)]
    samples = []
    for first in range(0, len(crops), batch):
        indices, pixels = zip(*crops[first : first + batch], strict=True)
        fixed = Batch(hq=torch.stack(pixels).float() / 255, seeds=indices, keys=())
        samples.append(to_sample(fixed, stage.degradation))
    return samples


def on_device(sample: Sample, device: torch.device) -> Sample:
    lq = None if sample.lq is None else sample.lq.to(device, non_blocking=True)
    teacher = None if sample.teacher is None else sample.teacher.to(device, non_blocking=True)
    return Sample(hq=sample.hq.to(device, non_blocking=True), lq=lq, teacher=teacher, numbers=sample.numbers)


def split(sample: Sample, pieces: int) -> Iterator[tuple[float, Sample]]:
    """Yield a sample in so many pieces of about one size, no more than it has photos, and each one's share of it."""
    count = len(sample.hq)
    pieces = min(pieces, count)
    ends = [count * index // pieces for index in range(pieces + 1)]
    for first, last in pairwise(ends):
        part = slice(first, last)
        yield (
            (last - first) / count,
            Sample(
                hq=sample.hq[part],
                lq=None if sample.lq is None else sample.lq[part],
                teacher=None if sample.teacher is None else sample.teacher[part],
                numbers=None if sample.numbers is None else sample.numbers[part],
            ),
        )


def _paired(pairs: PairedCrops, step: int) -> Sample:
    batch = pairs.batch(step)
    return Sample(hq=batch.hq, lq=batch.lq, numbers=tuple(pairs.sampling.numbers(step)))


def _taught(pairs: TaughtPairs, sampling: Sampling, step: int) -> Sample:
    numbers = [next(shuffled_indices(number, len(pairs), sampling.seed)) for number in sampling.numbers(step)]
    batch = pairs.batch(numbers)
    return Sample(hq=batch.hq, lq=batch.lq, teacher=batch.teacher, numbers=batch.numbers)


def _middle(photo: torch.Tensor, size: int) -> torch.Tensor:
    crop = photo[Region.middle((photo.shape[-2], photo.shape[-1]), (size, size)).slices]
    return torch.nn.functional.pad(
        crop.float(), (0, size - crop.shape[-1], 0, size - crop.shape[-2]), "replicate"
    ).byte()
