"""Kernels agree with the libraries whose they are, wherever a region lies."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image as pillow

from sdsr.images.kernels import KEYS, PILLOW_BICUBIC, PILLOW_LANCZOS, TORCH_BICUBIC
from sdsr.images.resize import resample
from sdsr.tensors import Region

KERNELS = (KEYS, TORCH_BICUBIC, PILLOW_BICUBIC, PILLOW_LANCZOS)
SIZES = [((37, 53), (148, 212)), ((48, 64), (512, 683)), ((1, 3), (16, 40)), ((2, 1), (9, 7)), ((97, 61), (40, 33))]
ROUNDED = 1.6 / 255
"""Pillow rounds to 8 bits after each direction: half a level, times the weights' absolute sum, and half a level."""


def edges(height, width):
    """A picture of 8 bits with hard edges everywhere, at which kernels overshoot."""
    rng = np.random.default_rng(0)
    return rng.choice(np.array([0, 20, 128, 235, 255], np.uint8), (height, width, 3))


def tensor(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].double() / 255


def resized(picture, target, method):
    """Columns first, as Pillow did when the programs were written; 13.0 begins with rows where that is less work."""
    return picture.resize((target[1], picture.height), method).resize(target[::-1], method)


@pytest.mark.parametrize(("size", "target"), SIZES)
def test_torchs_bicubic(size, target):
    image = tensor(edges(*size))
    expected = F.interpolate(image, size=target, mode="bicubic")
    torch.testing.assert_close(resample(image, target, kernel=TORCH_BICUBIC), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("kernel", "method"),
    [(PILLOW_BICUBIC, pillow.Resampling.BICUBIC), (PILLOW_LANCZOS, pillow.Resampling.LANCZOS)],
)
@pytest.mark.parametrize(("size", "target"), SIZES)
def test_pillows_on_images_of_8_bits(size, target, kernel, method):
    pixels = edges(*size)
    expected = np.array(resized(pillow.fromarray(pixels), target, method))
    result = resample(tensor(pixels), target, kernel=kernel)
    torch.testing.assert_close(result, tensor(expected), rtol=0, atol=ROUNDED)
    assert (result - tensor(expected)).abs().mean() < 0.4 / 255


def test_they_differ_at_edges_by_more_than_rounding():
    image = tensor(edges(24, 32))
    ours, torchs, pillows = (resample(image, (96, 128), kernel=kernel) for kernel in KERNELS[:3])
    assert (ours.clamp(0, 1) - torchs.clamp(0, 1)).abs().max() > 10 / 255
    assert (ours.clamp(0, 1) - pillows).abs().max() > 4 * ROUNDED


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("target", [(148, 212), (20, 30), (37, 53)])
def test_a_region_is_the_crop_of_the_whole(kernel, target):
    image = tensor(edges(37, 53))
    whole = resample(image, target, kernel=kernel)
    for region in (Region(top=3, left=0, height=11, width=30), Region(top=19, left=29, height=1, width=1)):
        torch.testing.assert_close(resample(image, target, region, kernel=kernel), whole[region.slices])


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_what_is_flat_stays_flat(kernel):
    flat = torch.full((1, 3, 7, 5), 0.3)
    torch.testing.assert_close(resample(flat, (33, 40), kernel=kernel), torch.full((1, 3, 33, 40), 0.3))
