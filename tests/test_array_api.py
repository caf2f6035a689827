"""One code for both kinds of arrays: what it makes of tensors it makes of NumPy's, and gives back what it was given."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from sdsr.array_api import inference, like, to_numpy, widen, zeros
from sdsr.images.color import adain, wavelet, ycbcr
from sdsr.images.floats import image, image_array, quantize
from sdsr.images.kernels import KEYS, PILLOW_LANCZOS, TORCH_BICUBIC
from sdsr.images.resize import resample
from sdsr.images.windows import blend, cover
from sdsr.photos.photo import Photo
from sdsr.region import Region
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.lq_image import LqImage

CONTENT = np.random.default_rng(0).random((1, 3, 70, 45), np.float32)
STYLE = np.random.default_rng(1).random((1, 3, 70, 45), np.float32)
PART = Region(top=5, left=3, height=40, width=61)


def enlarged(canvas: Canvas, given: Any) -> Any:
    lq_image = LqImage.on(canvas, given, (101, 133), 16)
    return lq_image.part(Region(top=0, left=0, height=48, width=64)).enlarged()


def blended(given: Any) -> Any:
    windows = cover(70, 45, window=32, overlap=8)
    return blend(((window, given[window.slices]) for window in windows), (70, 45))


FUNCTIONS = {
    "keys": lambda given: resample(given, (100, 80), PART, kernel=KEYS),
    "torch bicubic": lambda given: resample(given, (100, 80), PART, kernel=TORCH_BICUBIC),
    "clipped": lambda given: resample(given, (33, 21), kernel=PILLOW_LANCZOS),
    "wavelet": lambda given: wavelet(given, like(STYLE, given)),
    "adain": lambda given: adain(given, like(STYLE, given)),
    "ycbcr": lambda given: ycbcr(given, like(STYLE, given)),
    "mirrored margin": partial(enlarged, Canvas(margin_px=32)),
    "mirrored first": partial(enlarged, Canvas(small="mirrored", native_px=256)),
    "blend": blended,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arrays_and_tensors_give_the_same(name: str) -> None:
    of_array = FUNCTIONS[name](CONTENT)
    of_tensor = FUNCTIONS[name](torch.from_numpy(CONTENT))
    assert isinstance(of_array, np.ndarray)
    assert isinstance(of_tensor, torch.Tensor)
    assert of_array.dtype == np.float32
    np.testing.assert_allclose(of_array, of_tensor.numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_photos_are_the_same_floats_and_integers(dtype: Any) -> None:
    pixels = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, (6, 5, 3), dtype, endpoint=True)
    floats = image_array(Photo(pixels=pixels))
    np.testing.assert_array_equal(floats, image(Photo(pixels=pixels)).numpy())
    np.testing.assert_array_equal(quantize(floats, dtype), pixels)


def test_an_array_keeps_its_kind_and_takes_a_dtype() -> None:
    half = torch.zeros(2, dtype=torch.bfloat16)
    assert like(np.ones(2), half).dtype == torch.bfloat16
    assert widen(half).dtype == torch.float32
    assert widen(np.zeros(1, np.float16)).dtype == np.float32
    assert widen(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
    assert zeros((3,), half).dtype == torch.bfloat16
    assert to_numpy(half.float().requires_grad_(), np.float64).dtype == np.float64


def test_inference_holds_while_a_generator_runs_and_not_between() -> None:
    @inference
    def steps() -> Any:
        for _ in range(2):
            yield torch.is_inference_mode_enabled()

    seen = []
    for within in steps():
        seen.append((within, torch.is_inference_mode_enabled()))
    assert seen == [(True, False)] * 2
