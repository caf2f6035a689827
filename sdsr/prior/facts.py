"""What a prior states of itself, for windows and memory; knows no torch."""

from dataclasses import dataclass
from typing import Literal

Offload = Literal["none", "model", "sequential"]
"""How weights are on an accelerator: all of them; those of the part that computes; those of the layer that computes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Sizes and needs of a prior.

    `factor`: pixels per latent cell, along one side. `multiple_px`: what the sides of a canvas are multiples of.
    `native_px`: the side of the squares that it was trained on. `bytes_per_px`: memory in use at once for each pixel of
    a window, weights aside. `part_px` and `part_bytes_per_px`: the largest part of a picture that is encoded or decoded
    at once, with its context, and what each of its pixels needs meanwhile.
    """

    factor: int
    channels: int
    multiple_px: int
    native_px: int
    bytes_per_px: int
    part_px: int
    part_bytes_per_px: int
