"""Float tensors in [0, 1] are made from the integers of photos, and these from tensors, only here."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sdsr.errors import OutputError
from sdsr.photos.photo import Photo
from sdsr.tensors import Image, Plane, Region


def image(photo: Photo, region: Region | None = None) -> Image:
    """Return the photo, or a region of it, as float32 RGB in [0, 1], shape (1, 3, height, width)."""
    pixels = photo.pixels if region is None else photo.pixels[region.rows, region.columns]
    return _unit(pixels).permute(2, 0, 1)[None].contiguous()


def plane(photo: Photo, region: Region | None = None) -> Plane:
    """Return the alpha of the photo, or of a region of it, as float32 in [0, 1]; ones where it has none."""
    alpha = np.full(photo.size, _top(photo.pixels.dtype), photo.pixels.dtype) if photo.alpha is None else photo.alpha
    return _unit(alpha if region is None else alpha[region.rows, region.columns])[None, None]


def quantize(values: Float[Tensor, "1 c height width"], dtype: np.dtype | type) -> np.ndarray:
    """Round values in [0, 1] to uint8 or uint16: (h, w, 3) from RGB, (h, w) from one channel.

    What lies outside [0, 1] is clamped. Raises OutputError for NaN or infinity, which no file may ever hold.
    """
    samples = values[0].detach().to("cpu", torch.float32)
    broken = int((~samples.isfinite()).sum())
    if broken:
        raise OutputError(
            f"the restored picture holds NaN or infinity (={broken} values), limit 0; try float32 weights."
        )
    samples = samples.clamp(0, 1).mul_(_top(dtype)).round_().permute(1, 2, 0).numpy().astype(dtype)
    return np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def _top(dtype: np.dtype | type) -> int:
    return int(np.iinfo(dtype).max)


def _unit(samples: np.ndarray) -> Tensor:
    return torch.from_numpy(samples.astype(np.float32)).div_(_top(samples.dtype))
