"""Training batches: seeded random crops as a pure function of the step, so that a resumed run continues exactly.

The photos are shuffled once per epoch; sample g of a run (counted over all steps and processes) takes the g-th photo of
that endless order, and its crop, flips and degradation follow from (seed, g). Which process draws it doesn't matter.
"""

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image as pillow
from torch import Tensor

from sdsr.data.degradation import Degradation, LowImage, degrade, truth
from sdsr.data.passing import Passing
from sdsr.data.photos import LowPixels, PairSet, PhotoSet, Pixels
from sdsr.errors import InputError
from sdsr.tensors import Image, UInt8

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """HQ crops with, for each, the seed of its degradation and its photo's key."""

    hq: Image
    seeds: tuple[int, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBatch(Batch):
    """HQ crops and their LQ versions, smaller by the scale."""

    lq: LowImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What to cut from the photos, and which share of the samples is this process's (`rank` of `world_size`).

    `batch_size` is per process. The flips are probabilities.
    """

    size_px: int
    batch_size: int
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0

    def numbers(self, step: int) -> range:
        """The numbers g of this process's samples in that step."""
        first = (step * self.world_size + self.rank) * self.batch_size
        return range(first, first + self.batch_size)


@dataclass(frozen=True, slots=True)
class Crops:
    """Batches of HQ crops from photos."""

    photos: PhotoSet
    sampling: Sampling
    passing: Passing = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "passing", Passing(len(self.photos)))

    def batch(self, step: int) -> Batch:
        """The batch of that step, counted from 0."""
        samples = [self._sample(number) for number in self.sampling.numbers(step)]
        crops, seeds, indices = zip(*samples, strict=True)
        return Batch(
            hq=_image(crops),
            seeds=seeds,
            keys=tuple(self.photos.entries[index].key for index in indices),
        )

    def _sample(self, number: int) -> tuple[Pixels, int, int]:
        order = shuffled_indices(number, len(self.photos), self.sampling.seed)
        index, photo = next(self.passing.usable(order, self.photos.__getitem__))
        rng = np.random.default_rng((self.sampling.seed, number))
        size = self.sampling.size_px
        photo = _fitted(photo, size)
        top, left = (int(rng.integers(side - size + 1)) for side in photo.shape[-2:])
        crop = photo[:, top : top + size, left : left + size].flip(_flips(self.sampling, rng))
        return crop, int(rng.integers(2**63)), index


@dataclass(frozen=True, slots=True)
class PairedCrops:
    """Batches of aligned crops from pairs of photos; `size_px` is that of HQ."""

    pairs: PairSet
    sampling: Sampling
    passing: Passing = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "passing", Passing(len(self.pairs)))
        if self.sampling.size_px % self.pairs.scale:
            raise InputError(f"size_px (={self.sampling.size_px}) must be a multiple of the scale {self.pairs.scale}.")

    def batch(self, step: int) -> PairBatch:
        """The batch of that step, counted from 0; a pair smaller than the crop is passed over, too."""
        samples = [self._sample(number) for number in self.sampling.numbers(step)]
        lq, hq, seeds, indices = zip(*samples, strict=True)
        keys = tuple(self.pairs.hq.entries[index].key for index in indices)
        return PairBatch(hq=_image(hq), lq=_image(lq), seeds=seeds, keys=keys)

    def _sample(self, number: int) -> tuple[LowPixels, Pixels, int, int]:
        order = shuffled_indices(number, len(self.pairs), self.sampling.seed)
        index, (lq, hq) = next(self.passing.usable(order, self._large_enough))
        rng = np.random.default_rng((self.sampling.seed, number))
        scale = self.pairs.scale
        size = self.sampling.size_px // scale
        top, left = (int(rng.integers(side - size + 1)) for side in lq.shape[-2:])
        flips = _flips(self.sampling, rng)
        small = lq[:, top : top + size, left : left + size]
        large = hq[:, top * scale : (top + size) * scale, left * scale : (left + size) * scale]
        return small.flip(flips), large.flip(flips), int(rng.integers(2**63)), index

    def _large_enough(self, index: int) -> tuple[LowPixels, Pixels]:
        lq, hq = self.pairs[index]
        if min(hq.shape[-2:]) < self.sampling.size_px:
            key = self.pairs.hq.entries[index].key
            size = self.sampling.size_px
            raise InputError(f"pair {key} is smaller than size_px (={size}); lower it or remove the pair.")
        return lq, hq


def make_pairs(batch: Batch, settings: Degradation) -> PairBatch:
    """LQ for a batch, on the device of its photos; HQ is sharpened where the degradation says so."""
    hq = truth(batch.hq, settings)
    lq = degrade(hq, settings, batch.seeds)
    return PairBatch(hq=hq, lq=lq, seeds=batch.seeds, keys=batch.keys)


def prefetch(make: Callable[[int], T], steps: Iterable[int], *, depth: int = 2, workers: int = 1) -> Iterator[T]:
    """make(step) for each step, in order, computed ahead in background threads; what `make` raises is raised here.

    At most `depth` results wait. Closing the iterator drops what has not begun.
    """
    if depth < 1 or workers < 1:
        raise InputError(f"depth (={depth}) and workers (={workers}) must be at least 1.")
    remaining = iter(steps)
    with ThreadPoolExecutor(workers, thread_name_prefix="prefetch") as pool:
        waiting: deque[Future[T]] = deque(pool.submit(make, step) for step in itertools.islice(remaining, depth))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(make, step) for step in itertools.islice(remaining, 1))
                yield result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def shuffled_indices(number: int, count: int, seed: int) -> Iterator[int]:
    """Which photo sample `number` takes, then which it would take instead: all others, as they follow in its epoch.

    So every photo comes once per epoch, in an order of the epoch's own.
    """
    epoch, position = divmod(number, count)
    order = _order(count, seed, epoch)
    return (int(order[(position + ahead) % count]) for ahead in range(count))


@functools.lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch, count)).permutation(count)


def _fitted(photo: Pixels, size: int) -> UInt8[Tensor, "3 fitted_height fitted_width"]:
    """The photo, resized so that its short side is the crop's where it is shorter."""
    shortest = min(photo.shape[-2:])
    if shortest >= size:
        return photo
    height, width = (max(round(side * size / shortest), size) for side in photo.shape[-2:])
    resized = pillow.fromarray(photo.permute(1, 2, 0).numpy()).resize((width, height), pillow.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def _flips(sampling: Sampling, rng: Generator) -> tuple[int, ...]:
    chances = ((-1, sampling.horizontal_flip), (-2, sampling.vertical_flip))
    return tuple(dim for dim, chance in chances if rng.random() < chance)


def _image(crops: Iterable[Pixels]) -> Image:
    return torch.stack(tuple(crops)).float() / 255
