import numpy as np
import pytest
import torch

from sdsr.errors import OutputError
from sdsr.images.floats import image, plane, quantize
from sdsr.photos.photo import Photo
from sdsr.tensors import Region


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_level_survives_the_way_to_a_tensor_and_back(dtype):
    top = np.iinfo(dtype).max
    levels = np.arange(top + 1, dtype=dtype).reshape(-1, 64, 1)
    photo = Photo(pixels=np.repeat(levels, 3, axis=2), alpha=levels[..., 0])
    values = image(photo)
    assert values.dtype == torch.float32
    assert (values.min(), values.max()) == (0, 1)
    np.testing.assert_array_equal(quantize(values, dtype), photo.pixels)
    np.testing.assert_array_equal(quantize(plane(photo), dtype), photo.alpha)


def test_region_is_a_crop_of_the_whole():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    photo = Photo(pixels=pixels, alpha=pixels[..., 0].copy())
    region = Region(top=3, left=5, height=7, width=11)
    torch.testing.assert_close(image(photo, region), image(photo)[region.slices], rtol=0, atol=0)
    np.testing.assert_array_equal(plane(photo, region), plane(photo)[region.slices])


def test_plane_of_an_opaque_photo_is_one():
    np.testing.assert_array_equal(plane(Photo(pixels=np.zeros((2, 3, 3), np.uint8))), np.ones((1, 1, 2, 3)))


def test_quantize_rounds_and_clamps():
    values = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0]).view(1, 1, 1, 4)
    assert quantize(values, np.uint8).tolist() == [[0, 0, 1, 255]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_quantize_refuses_what_is_not_finite(value):
    values = torch.zeros(1, 3, 4, 4)
    values[0, 1, 2, 3] = value
    with pytest.raises(OutputError, match=r"\(=1 values\)"):
        quantize(values, np.uint8)
