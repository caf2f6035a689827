import numpy as np
import pytest
import torch

from sdsr.errors import OutputError
from sdsr.images.photo import Photo, bleed, image, plane, quantize
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
    torch.testing.assert_close(plane(photo, region), plane(photo)[region.slices], rtol=0, atol=0)


def test_plane_of_an_opaque_photo_is_one():
    assert plane(Photo(pixels=np.zeros((2, 3, 3), np.uint8))).equal(torch.ones(1, 1, 2, 3))


def test_quantize_rounds_and_clamps():
    values = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0]).view(1, 1, 1, 4)
    assert quantize(values, np.uint8).tolist() == [[0, 0, 1, 255]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_quantize_refuses_what_is_not_finite(value):
    values = torch.zeros(1, 3, 4, 4)
    values[0, 1, 2, 3] = value
    with pytest.raises(OutputError, match=r"\(=1 values\)"):
        quantize(values, np.uint8)


@pytest.mark.parametrize("size", [(1, 7), (9, 9), (33, 50)])
def test_bleed_continues_visible_colors_under_transparency(size):
    pixels, alpha = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    pixels[:, : size[1] // 2 + 1], alpha[:, : size[1] // 2 + 1] = (200, 100, 50), 255
    alpha[0, 0], pixels[0, 0] = 1, (200, 100, 50)
    filled = bleed(pixels, alpha)
    assert np.unique(filled.reshape(-1, 3), axis=0).tolist() == [[200, 100, 50]]
    assert pixels[0, -1].tolist() == [0, 0, 0], "the photo itself must stay"


def test_bleed_leaves_visible_pixels_and_fills_from_the_near_side():
    pixels = np.zeros((64, 64, 3), np.uint16)
    pixels[:, :20], pixels[:, 44:] = 60000, 10000
    alpha = np.zeros((64, 64), np.uint16)
    alpha[:, :20] = alpha[:, 44:] = 65535
    filled = bleed(pixels, alpha)
    np.testing.assert_array_equal(filled[alpha > 0], pixels[alpha > 0])
    assert (filled[:, 20:22] > 50000).all()
    assert (filled[:, 42:44] < 20000).all()


@pytest.mark.parametrize("alpha", [0, 9])
def test_bleed_has_nothing_to_do_when_all_or_nothing_is_hidden(alpha):
    pixels = np.full((4, 4, 3), 7, np.uint8)
    assert bleed(pixels, np.full((4, 4), alpha, np.uint8)) is pixels
