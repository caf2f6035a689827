"""Pictures in memory, of the kinds that other libraries use, as photos and back."""

from typing import Any

import numpy as np
import torch
from PIL import Image as pillow

from sdsr.errors import InputError
from sdsr.images.floats import image, quantize
from sdsr.images.photo import Photo, bleed


def as_photo(picture: Any) -> Photo:
    """Return a picture as a photo, or raise InputError.

    It may be a PIL image (alpha is kept), an array (h, w, 3) or (h, w) of uint8, uint16 or floats in [0, 1], or a
    tensor (3, h, w) or (1, 3, h, w) of floats in [0, 1]. Floats become 16 bits.
    """
    if isinstance(picture, pillow.Image):
        return _from_pillow(picture)
    if isinstance(picture, torch.Tensor):
        batch = picture if picture.ndim == 4 else picture[None]
        if tuple(batch.shape[:2]) != (1, 3) or not batch.is_floating_point():
            raise InputError(
                f"tensor (={tuple(picture.shape)}, {picture.dtype}) must be (3, h, w) of floats, one photo."
            )
        return Photo(pixels=quantize(batch, np.uint16))
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    raise InputError(
        f"picture (={type(picture).__name__}) must be one PIL image, array or tensor; give several one by one, "
        "and files to `sdsr.images.files.read_photo`."
    )


def as_output(photo: Photo, output_type: str) -> Any:
    """Return a photo as what diffusers calls "pil" (a list), "np" (1, h, w, 3) or "pt" (1, 3, h, w)."""
    match output_type:
        case "pil":
            bands = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
            if bands.dtype == np.uint16:
                bands = np.rint(bands / np.float32(257)).astype(np.uint8)
            return [pillow.fromarray(bands)]
        case "np":
            return image(photo).permute(0, 2, 3, 1).numpy()
        case "pt":
            return image(photo)
    raise InputError(f"output_type (={output_type}) must be pil, np or pt.")


def _from_pillow(picture: pillow.Image) -> Photo:
    if not picture.has_transparency_data:
        return Photo(pixels=np.asarray(picture.convert("RGB")))
    rgba = np.asarray(picture.convert("RGBA"))
    pixels, alpha = np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    return Photo(pixels=bleed(pixels, alpha), alpha=alpha)


def _from_array(picture: np.ndarray) -> Photo:
    colored = np.repeat(picture[..., None], 3, axis=-1) if picture.ndim == 2 else picture
    if colored.ndim != 3 or colored.shape[-1] != 3:
        raise InputError(f"array (={picture.shape}) must be (h, w, 3) or (h, w), one photo.")
    if np.issubdtype(colored.dtype, np.floating):
        return Photo(pixels=quantize(torch.from_numpy(colored).permute(2, 0, 1)[None].float(), np.uint16))
    if colored.dtype not in (np.uint8, np.uint16):
        raise InputError(f"array (={picture.dtype}) must hold uint8, uint16 or floats in [0, 1].")
    return Photo(pixels=np.ascontiguousarray(colored))
