"""How the degradation resizes: torch's ways by name, areas enlarged as matrix products, which takes half the time."""

from typing import TypedDict

import numpy as np
from torch import Tensor
from torch.nn import functional

from sdsr.images.banded import Band, apply_banded
from sdsr.tensors import Float, Image


class ResizeMode(TypedDict, total=False):
    """How `interpolate` resizes."""

    mode: str
    antialias: bool


RESIZE_MODES: dict[str, ResizeMode] = {
    "area": {"mode": "area"},
    "bilinear": {"mode": "bilinear"},
    "bicubic": {"mode": "bicubic"},
    "bilinear_antialiased": {"mode": "bilinear", "antialias": True},
    "bicubic_antialiased": {"mode": "bicubic", "antialias": True},
}
Resized = Float[Tensor, "b 3 _ _"]  # an Image of another size than the one beside it


def resized(image: Image, size: tuple[int, int], mode: str) -> Resized:
    """Return photos at this size (height, width), by a way of `RESIZE_MODES`."""
    if mode == "area" and _enlarges(image, size):
        across = apply_banded(image, _areas(image.shape[-1], size[1]), slice(0, size[1]), dim=-1)
        return apply_banded(across, _areas(image.shape[-2], size[0]), slice(0, size[0]), dim=-2).to(image)
    return functional.interpolate(image, size=size, **RESIZE_MODES[mode])


def scaled(image: Image, factor: float, mode: str) -> Resized:
    """Return photos `factor` times as large, rounded down; the grid of samples follows the factor, not the sizes."""
    if mode == "area":  # has no grid of samples
        return resized(image, (int(image.shape[-2] * factor), int(image.shape[-1] * factor)), mode)
    return functional.interpolate(image, scale_factor=factor, **RESIZE_MODES[mode])


def _enlarges(image: Image, size: tuple[int, int]) -> bool:
    """Tell whether a processor enlarges; reductions, and accelerators, are faster by torch's pooling."""
    return image.device.type == "cpu" and size[0] >= image.shape[-2] and size[1] >= image.shape[-1]


def _areas(length: int, size: int) -> Band:
    """The averages of whole inputs that `interpolate(mode="area")` takes: all that an output touches, equally."""
    output = np.arange(size)
    start = output * length // size
    stop = -(-(output + 1) * length // size)

    def band(first: int, last: int) -> tuple[int, np.ndarray]:
        inputs = np.arange(start[first], stop[last - 1])
        reads = (inputs >= start[first:last, None]) & (inputs < stop[first:last, None])
        return int(start[first]), reads / (stop - start)[first:last, None]

    return band
