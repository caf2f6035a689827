"""Floats in [0, 1] are made from the integers of photos, and these from floats, only here."""

import numpy as np

from sdsr.array_api import to_numpy
from sdsr.errors import ResultError
from sdsr.photos.photo import Photo
from sdsr.tensors import Float, Image, Region, Tensor


def image(photo: Photo, region: Region | None = None) -> Image:
    """Return the photo, or a region of it, as a float32 tensor, RGB in [0, 1], shape (1, 3, height, width)."""
    import torch

    return torch.from_numpy(image_array(photo, region))


def image_array(photo: Photo, region: Region | None = None) -> Float[np.ndarray, "1 3 height width"]:
    """Return what `image` does as a NumPy array, without torch."""
    pixels = photo.pixels if region is None else photo.pixels[region.rows, region.columns]
    return np.ascontiguousarray(_unit(pixels).transpose(2, 0, 1)[None])


def levels_as_image(levels: Float[np.ndarray, "height width 3"]) -> Image:
    """Return floats in 0 ... 255, as measures have them, as an image."""
    import torch

    return torch.from_numpy(levels / 255).float().permute(2, 0, 1)[None]


def plane(photo: Photo, region: Region | None = None) -> Float[np.ndarray, "1 1 height width"]:
    """Return the alpha of the photo, or of a region of it, as a float32 array in [0, 1]; ones where it has none."""
    alpha = np.full(photo.size, _top(photo.pixels.dtype), photo.pixels.dtype) if photo.alpha is None else photo.alpha
    return _unit(alpha if region is None else alpha[region.rows, region.columns])[None, None]


def quantize(values: Float[np.ndarray | Tensor, "1 c height width"], dtype: np.dtype | type) -> np.ndarray:
    """Round values in [0, 1] to uint8 or uint16: (h, w, 3) from RGB, (h, w) from one channel.

    What lies outside [0, 1] is clamped. Raises ResultError for NaN or infinity, which no file may ever hold.
    """
    samples = to_numpy(values[0], np.float32)
    broken = int((~np.isfinite(samples)).sum())
    if broken:
        raise ResultError(
            f"the restored picture holds NaN or infinity (={broken} values), limit 0; try float32 weights."
        )
    levels = samples.clip(0, 1)
    levels *= _top(dtype)
    planes = np.rint(levels, out=levels).astype(dtype)
    return planes[0] if len(planes) == 1 else np.stack(list(planes), axis=-1)


def _top(dtype: np.dtype | type) -> int:
    return int(np.iinfo(dtype).max)


def _unit(samples: np.ndarray) -> np.ndarray:
    values = samples.astype(np.float32)
    values /= _top(samples.dtype)
    return values
