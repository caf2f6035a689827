"""Training samples made on an accelerator: photos lie in its memory; crops, degradation and teacher work there."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bench.gpu.batched import degrade_batch
from sdsr.data.degradation import Degradation, LowImage
from sdsr.data.photos import PhotoSet
from sdsr.errors import InputError
from sdsr.objectives.training_step import Sample
from sdsr.tensors import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSource:
    """step -> Sample on the photos' device, a function of (seed, step).

    `photos` are uint8 (3, height, width), each at least `crop_px` a side; without a `degradation` they have no LQ.
    `teacher` answers each LQ photo, in `dtype`.
    """

    photos: Sequence[Tensor]
    degradation: Degradation | None
    crop_px: int
    batch: int
    seed: int = 0
    teacher: nn.Module | None = None
    dtype: torch.dtype = torch.float32

    @torch.no_grad()
    def __call__(self, step: int) -> Sample:
        rng = np.random.default_rng((self.seed, step))
        hq = self._crops(rng)
        if self.degradation is None:
            return Sample(hq=hq)
        lq = degrade_batch(hq, self.degradation, rng)
        return Sample(hq=hq, lq=lq, teacher=self._answers(lq))

    def _crops(self, rng: np.random.Generator) -> Image:
        crops = []
        for index in rng.integers(len(self.photos), size=self.batch):
            photo = self.photos[index]
            top, left = (int(rng.integers(side - self.crop_px + 1)) for side in photo.shape[-2:])
            crop = photo[:, top : top + self.crop_px, left : left + self.crop_px]
            crops.append(crop.flip(-1) if rng.random() < 0.5 else crop)
        return torch.stack(crops).float() / 255

    def _answers(self, lq: LowImage) -> Image | None:
        if self.teacher is None:
            return None
        return self.teacher(lq.to(self.dtype, memory_format=torch.channels_last)).float()


def photos_on(device: torch.device, photos: PhotoSet, crop_px: int) -> list[Tensor]:
    """Return all photos that a crop fits into, on the device. Raises InputError where there are none."""
    with ThreadPoolExecutor() as readers:
        decoded = readers.map(photos.__getitem__, range(len(photos)))
        fitting = [photo.to(device) for photo in decoded if min(photo.shape[-2:]) >= crop_px]
    if not fitting:
        raise InputError(f"no photo is at least crop_px (={crop_px}) a side; lower it, or give larger photos.")
    return fitting
