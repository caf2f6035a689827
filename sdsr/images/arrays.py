"""Pictures in memory, of the kinds that other libraries use, as photos and back.

They take the same way as files (`read_opened`); what an array doesn't say of itself is asked for, never guessed.
"""

import numpy as np
import torch
from PIL import Image as pillow

from sdsr.errors import InputError
from sdsr.images.floats import image
from sdsr.photos.formats import Space
from sdsr.photos.opened import Opened
from sdsr.photos.photo import Photo
from sdsr.photos.pil import from_pillow
from sdsr.photos.pil_result import to_pillow
from sdsr.photos.profiles import neutral
from sdsr.photos.ranges import full_range
from sdsr.photos.reading import read_opened

_CHANNELS: dict[int, tuple[Space, bool]] = {1: ("GRAY", False), 2: ("GRAY", True), 3: ("RGB", False), 4: ("RGB", True)}


def as_photo(picture: object) -> Photo:
    """Return a picture as a photo, or raise InputError.

    It may be a PIL image, read as its file would be (orientation, profile, alpha, depth, metadata); an array (h, w) or
    (h, w, c); or a tensor (h, w), (c, h, w) or (1, c, h, w). `c` is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB,
    alpha). Values are uint8, uint16, bool, or floats in [0, 1], which become 16 bits.
    """
    if isinstance(picture, pillow.Image):
        return from_pillow(picture)
    if isinstance(picture, torch.Tensor):
        return _from_samples(_samples_of_tensor(picture), "tensor")
    if isinstance(picture, np.ndarray):
        return _from_samples(_samples_of_array(picture), "array")
    raise InputError(
        f"picture (={type(picture).__name__}) must be one PIL image, array or tensor; give several one by one, "
        "and files to `sdsr.photos.files.read_photo`."
    )


def as_output(photo: Photo, output_type: str) -> object:
    """Return a photo as what diffusers calls "pil" (a list), "np" (1, h, w, 3) or "pt" (1, 3, h, w).

    A PIL image is in the photo's own mode and profile and carries its metadata; the others are sRGB in [0, 1], with
    three equal channels where the photo is gray.
    """
    match output_type:
        case "pil":
            return [to_pillow(photo)]
        case "np":
            return _neutral_image(photo).permute(0, 2, 3, 1).numpy()
        case "pt":
            return _neutral_image(photo)
    raise InputError(f"output_type (={output_type}) must be pil, np or pt.")


def _neutral_image(photo: Photo) -> torch.Tensor:
    return image(Photo(pixels=neutral(photo.pixels)) if photo.traits.gray else photo)


def _samples_of_array(array: np.ndarray) -> np.ndarray:
    one = array[0] if array.ndim == 4 and len(array) == 1 else array
    samples = one[..., None] if one.ndim == 2 else one
    if samples.ndim != 3 or samples.shape[-1] not in _CHANNELS:
        first = samples.ndim == 3 and samples.shape[0] in _CHANNELS
        remedy = "; channels come last, use array.transpose(1, 2, 0)." if first else "; give one photo."
        raise InputError(f"array (={array.shape}) must be (h, w) or (h, w, c) of 1 to 4 channels{remedy}")
    return np.asarray(samples)


def _samples_of_tensor(tensor: torch.Tensor) -> np.ndarray:
    one = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
    samples = one[None] if one.ndim == 2 else one
    if samples.ndim != 3 or samples.shape[0] not in _CHANNELS:
        last = samples.ndim == 3 and samples.shape[-1] in _CHANNELS
        remedy = "; channels come first, use tensor.permute(2, 0, 1)." if last else "; give one photo."
        raise InputError(
            f"tensor (={tuple(tensor.shape)}) must be (h, w), (c, h, w) or (1, c, h, w) of 1 to 4 channels{remedy}"
        )
    if samples.layout != torch.strided or samples.is_meta:
        raise InputError(f"tensor (={samples.layout}, {samples.device}) must be dense and hold values; materialize it.")
    samples = samples.detach().cpu().permute(1, 2, 0)
    return (samples.float() if samples.is_floating_point() else samples.resolve_conj()).numpy()


def _from_samples(samples: np.ndarray, kind: str) -> Photo:
    """Return samples (h, w, c) as a photo."""
    height, width, channels = samples.shape
    if not samples.size:
        raise InputError(f"{kind} (={width}x{height} px) has no pixels; give at least 1x1.")
    levels = full_range(samples, kind)
    space, alpha = _CHANNELS[channels]
    opened = Opened(
        format="PNG",
        width=width,
        height=height,
        bits=8 * levels.dtype.itemsize,
        space=space,
        alpha=alpha,
        icc=None,
        exif=None,
        xmp=None,
        dpi=None,
        decode=lambda: levels,
    )
    return read_opened(opened, f"the {kind}")
