"""The degradation of `sdsr.data.degradation` as a plain host program has it: NumPy and Pillow, an image at a time.

The same operations in the same order, with the same chances, sizes, kernels and strengths, drawn by the same functions;
images are (rows, columns, 3) in [0, 1]. Files are real JPEG, resizes Pillow's, photon noise is scaled to the levels
that occur in the image, spectra are NumPy's.
"""

import io
import math

import numpy as np
from numpy.random import Generator
from PIL import Image as pillow

from sdsr.data.degradation import Degradation, Jpeg, Stage, draw_factor, draw_mode
from sdsr.data.kernels import random_kernel, random_sinc
from sdsr.data.noise import Noise

FILTERS = {"area": pillow.Resampling.BOX, "bilinear": pillow.Resampling.BILINEAR, "bicubic": pillow.Resampling.BICUBIC}
_GRAY = np.array([0.2989, 0.587, 0.114])


def degrade_plainly(image: np.ndarray, settings: Degradation, seed: int) -> np.ndarray:
    """Return the LQ image of an HQ image, of its size over the scale."""
    rng = np.random.default_rng(seed)
    height, width = (side // settings.scale for side in image.shape[:2])
    if rng.random() < settings.first.probability:
        image = _spoiled(image, settings.first, (image.shape[0], image.shape[1]), rng)
    image = _compressed(image, settings.first.jpeg, rng)
    if rng.random() < settings.second.probability:
        image = _spoiled(image, settings.second, (height, width), rng)
    jpeg_last = rng.random() < 0.5
    if not jpeg_last:
        image = _compressed(image, settings.second.jpeg, rng)
    image = _resized(image, (height, width), draw_mode(settings.second.resize, rng))
    if rng.random() < settings.final_sinc.probability:
        image = _filtered(image, random_sinc(int(rng.choice(settings.final_sinc.sizes)), rng)[0].numpy())
    image = _compressed(image, settings.second.jpeg, rng) if jpeg_last else image
    return _bytes(image) / np.float32(255)


def _spoiled(image: np.ndarray, stage: Stage, size: tuple[int, int], rng: Generator) -> np.ndarray:
    """Blur, resize (to a drawn multiple of `size`) and add noise."""
    if rng.random() < stage.blur.probability:
        image = _filtered(image, random_kernel(stage.blur, rng)[0].numpy())
    factor = draw_factor(stage.resize, rng)
    height, width = (max(int(side * factor), 1) for side in size)
    return _noised(_resized(image, (height, width), draw_mode(stage.resize, rng)), stage.noise, rng)


def _filtered(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate as a product of spectra: NumPy's fastest way for a kernel of 21 x 21."""
    border = len(kernel) // 2
    padded = np.pad(image, ((border, border), (border, border), (0, 0)), mode="reflect")
    size = padded.shape[:2]
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * np.fft.rfft2(kernel[::-1, ::-1], size)[..., None]
    return np.fft.irfft2(spectrum, size, axes=(0, 1))[2 * border :, 2 * border :]


def _resized(image: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    """By Pillow, plane by plane, since its images of floats have one."""
    if image.shape[:2] == size:
        return image
    planes = (pillow.fromarray(np.float32(plane)) for plane in np.moveaxis(image, -1, 0))
    return np.stack([np.asarray(plane.resize((size[1], size[0]), FILTERS[mode])) for plane in planes], axis=-1)


def _noised(image: np.ndarray, noise: Noise, rng: Generator) -> np.ndarray:
    if rng.random() >= noise.probability:
        return image
    gaussian = rng.random() < noise.gaussian
    strength = rng.uniform(*(noise.sigma if gaussian else noise.poisson_scale))
    gray = rng.random() < noise.gray
    if gaussian:
        shape = (*image.shape[:2], 1 if gray else 3)
        return (image + rng.normal(0, strength / 255, shape)).clip(0, 1)
    levels = _bytes((image @ _GRAY)[..., None] if gray else image) / 255
    full = 2.0 ** math.ceil(math.log2(len(np.unique(levels))))
    return (image + strength * (rng.poisson(levels * full) / full - levels)).clip(0, 1)


def _compressed(image: np.ndarray, jpeg: Jpeg, rng: Generator) -> np.ndarray:
    if rng.random() >= jpeg.probability:
        return image
    file = io.BytesIO()
    pillow.fromarray(_bytes(image)).save(file, "JPEG", quality=round(rng.uniform(*jpeg.quality)))
    return np.asarray(pillow.open(file), np.float32) / 255


def _bytes(image: np.ndarray) -> np.ndarray:
    return (255 * image.clip(0, 1) + 0.5).astype(np.uint8)
