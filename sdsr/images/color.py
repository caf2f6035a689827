"""Take the colors of one image, the style, for another of the same size, the content.

Latent diffusion shifts colors; the photo that was enlarged has the right ones. Nothing here clamps, except `ycbcr`.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from sdsr.array_api import concatenate, like, to_numpy, widen
from sdsr.images.banded import apply_banded
from sdsr.tensors import Float64, Image

WAVELET_LEVELS = 5
WAVELET_HALO_PX = 2**WAVELET_LEVELS - 1
"""A strip with as many rows more on each side than are kept gives the rows of the whole picture."""

VARIANCE_FLOOR = 1e-5
"""What AdaIN adds to variances of colors in [0, 1], as SeeSR's and ConsisSR's code does; it decides flat pictures."""

SIGNED_VARIANCE_FLOOR = VARIANCE_FLOOR / 4
"""The same where the published code adds 1e-5 on [-1, 1], whose variances are four times as large (StableSR)."""

_RGB_TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
_YCBCR_OFFSET = np.array([16.0, 128.0, 128.0])[:, None, None] / 255


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """What AdaIN needs to know of an image, in float64; those of its parts add up to those of the whole."""

    pixels: int
    total: Float64[np.ndarray, "b 3"]
    squares: Float64[np.ndarray, "b 3"]

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            pixels=self.pixels + other.pixels, total=self.total + other.total, squares=self.squares + other.squares
        )

    @property
    def mean(self) -> Float64[np.ndarray, "b 3"]:
        """The mean of each channel."""
        return self.total / self.pixels

    def deviation(self, floor: float = VARIANCE_FLOOR) -> Float64[np.ndarray, "b 3"]:
        """Return the root of the unbiased variance plus `floor`."""
        variance = (self.squares - self.total**2 / self.pixels) / max(self.pixels - 1, 1)
        return np.sqrt(variance.clip(min=0) + floor)


def moments(image: Image) -> Moments:
    """Return the moments of an image or a part of one."""
    values = to_numpy(image, np.float64)
    return Moments(
        pixels=image.shape[-2] * image.shape[-1], total=values.sum((-2, -1)), squares=(values**2).sum((-2, -1))
    )


def adain(content: Image, style: Image, floor: float = VARIANCE_FLOOR) -> Image:
    """Return the content with the style's mean and standard deviation in each channel (arXiv:1703.06868, Eq. 8)."""
    return apply_moments(content, moments(content), moments(style), floor)


def apply_moments(content: Image, of_content: Moments, of_style: Moments, floor: float = VARIANCE_FLOOR) -> Image:
    """Return the content, or a part of it, with one set of moments exchanged for the other."""
    scale = of_style.deviation(floor) / of_content.deviation(floor)
    shift = of_style.mean - of_content.mean * scale
    scale, shift = (like(value[:, :, None, None], content) for value in (scale, shift))
    return content * scale + shift


def wavelet(content: Image, style: Image, levels: int = WAVELET_LEVELS) -> Image:
    """Return the content's high frequencies on the style's low ones (StableSR, arXiv:2305.07015).

    The low frequencies are `levels` blurs by (1 2 1) / 4 in each direction with dilations 1, 2, 4, ... at replicated
    borders. Blurring is linear, so it is the difference of the two images that is blurred.
    """
    low = like(style, widen(content)) - content
    for dim in (-2, -1):
        length = low.shape[dim]
        low = apply_banded(low, partial(_low_pass, length, levels), slice(0, length), dim=dim)
    return like(content + low, content)


def ycbcr(content: Image, style: Image) -> Image:
    """Return the content's luma with the style's chroma (BT.601, studio range), clamped to [0, 1]: what InvSR does."""
    offset = like(_YCBCR_OFFSET, content)
    of_content, of_style = ((_mixed(image, _RGB_TO_YCBCR) + offset).clip(0, 1) for image in (content, style))
    mixed = concatenate([of_content[:, :1], of_style[:, 1:]], 1)
    return _mixed(mixed - offset, np.linalg.inv(_RGB_TO_YCBCR)).clip(0, 1)


def _low_pass(length: int, levels: int, first: int, last: int) -> tuple[int, np.ndarray]:
    """Return the band of all blurs together, for an axis of this length: the identity, blurred."""
    halo = 2**levels - 1
    start = max(first - halo, 0)
    stop = min(last + halo, length)
    index = np.arange(stop - start)
    matrix = np.eye(stop - start)
    for dilation in (2**level for level in range(levels)):
        before = (index - dilation).clip(min=0)
        after = (index + dilation).clip(max=stop - start - 1)
        matrix = (matrix[before] + 2 * matrix + matrix[after]) / 4
    return start, matrix[first - start : last - start]


def _mixed(image: Image, matrix: np.ndarray) -> Image:
    """Return the image with each pixel multiplied by a matrix, elementwise: autocast can't lower its precision."""
    red, green, blue = (image[:, index : index + 1] * like(matrix[:, index, None, None], image) for index in range(3))
    return red + green + blue
