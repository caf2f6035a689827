"""Noise that belongs to the canvas: one seed gives the same numbers in however many parts they are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from sdsr.errors import InputError
from sdsr.tensors import Float32, Region, Tensor

if TYPE_CHECKING:
    from torch import Generator

_BLOCK = 64
_SEEDS = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CanvasNoise:
    """The source of a batch's randomness: one seed for each photo.

    The canvas of each (seed, purpose, step) is an endless plane, drawn in blocks of 64 x 64 cells. A block is the
    stream of a counter-based generator (Philox) keyed by a hash of these and its place, so it depends on nothing else.
    """

    seeds: tuple[int, ...]

    @classmethod
    def from_generator(cls, rng: "Generator | Sequence[Generator]", photos: int = 1) -> "CanvasNoise":
        """Return a source whose seeds are drawn from one generator, or from one for each of the photos."""
        import torch

        generators = [rng] * photos if isinstance(rng, torch.Generator) else list(rng)
        if not generators or len(generators) != photos:
            raise InputError(
                f"generators (={len(generators)}) must be one for each photo (={photos}); give one or as many."
            )
        draws = [torch.randint(_SEEDS, (), generator=each, device=each.device) for each in generators]
        return cls(seeds=tuple(int(draw) for draw in draws))

    def at(self, purpose: str, step: int, region: Region, channels: int) -> Float32[Tensor, "b c h w"]:
        """Return standard normal noise for a region of the canvas, a tensor on the CPU.

        `purpose` separates uses ("start", "step", "posterior"), `step` the steps of one use.
        """
        if min(region.height, region.width, channels) < 1:
            raise InputError(f"noise of {channels} channels for {region} is empty; every size must be at least 1.")
        rows = range(region.top // _BLOCK, -(-region.bottom // _BLOCK))
        columns = range(region.left // _BLOCK, -(-region.right // _BLOCK))
        part = region.relative_to(Region(top=rows.start * _BLOCK, left=columns.start * _BLOCK, height=0, width=0))
        photos = []
        for seed in self.seeds:
            names = [[f"{seed} {step} {row} {column} {purpose}" for column in columns] for row in rows]
            photos.append(np.block([[_block(name, channels) for name in line] for line in names])[part.slices])
        import torch  # a runtime without it starts from the photo, and draws nothing

        return torch.from_numpy(np.stack(photos))


def _block(name: str, channels: int) -> np.ndarray:
    key = int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key)).standard_normal((channels, _BLOCK, _BLOCK), dtype=np.float32)
