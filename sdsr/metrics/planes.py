"""From pixels to the planes that metrics read, and the filters they share: float64 NumPy on the scale 0 ... 255."""

from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image as PillowImage

from sdsr.tensors import Float, UInt

Pixels = UInt[np.ndarray, "_height _width 3"]
Values = Float[np.ndarray, "height width 3"]
Plane = Float[np.ndarray, "height width"]
Reduced = Float[np.ndarray, "rows columns"]
PlaneName = Literal["rgb", "y", "luma"]

_STUDIO = np.array([65.481, 128.553, 24.966]) / 255
_FULL = np.array([0.299, 0.587, 0.114])


def values(pixels: Pixels) -> Values:
    """sRGB values 0 ... 255 of 8-bit or 16-bit pixels, unrounded."""
    return pixels * (255 / np.iinfo(pixels.dtype).max)


def plane(pixels: Pixels, name: PlaneName) -> Values | Plane:
    """What a metric reads: `rgb` values, `y` of YCbCr (BT.601, 16 ... 235), or full-range `luma`; nothing rounded."""
    rgb = values(pixels)
    if name == "rgb":
        return rgb
    return rgb @ _STUDIO + 16 if name == "y" else rgb @ _FULL


def gaussian(sigma_px: float, radius_px: int) -> Float[np.ndarray, " taps"]:
    """A sampled Gaussian of 2 radius + 1 taps and sum 1."""
    taps = np.exp(-0.5 * (np.arange(-radius_px, radius_px + 1) / sigma_px) ** 2)
    return taps / taps.sum()


def filtered(image: Plane, taps: Float[np.ndarray, " taps"]) -> Reduced:
    """Correlation with the same taps along both axes over the valid area: each side shrinks by taps - 1."""
    vertical = sliding_window_view(image, len(taps), axis=0) @ taps
    return sliding_window_view(vertical, len(taps), axis=1) @ taps


def blurred(image: Plane, sigma_px: float) -> Plane:
    """Gaussian blur of the same size: four sigmas to each side, mirrored at the border."""
    radius_px = int(4 * sigma_px + 0.5)
    return filtered(np.pad(image, radius_px, mode="symmetric"), gaussian(sigma_px, radius_px))


def blocks(image: Plane, size_px: int) -> Float[np.ndarray, "n size size"]:
    """The whole blocks of size x size, in reading order; what is left at the right and the bottom is dropped."""
    rows, columns = (length // size_px for length in image.shape)
    cut = image[: rows * size_px, : columns * size_px].reshape(rows, size_px, columns, size_px)
    return cut.swapaxes(1, 2).reshape(-1, size_px, size_px)


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """8-bit pixels at another size, width and height, by Pillow's bicubic filter."""
    return np.asarray(PillowImage.fromarray(pixels).resize(size, PillowImage.Resampling.BICUBIC))
