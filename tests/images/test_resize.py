import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from sdsr.errors import InputError
from sdsr.images.resize import resample
from sdsr.tensors import Region

SIZES = [
    ((37, 53), (148, 212)),
    ((37, 53), (100, 17)),
    ((300, 1), (1000, 16)),
    ((3, 2000), (5, 333)),
    ((1, 1), (16, 16)),
    ((40, 30), (40, 30)),
    ((500, 400), (3, 2)),
    ((20, 30), (319, 479)),
]


def noise(*shape, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize(("size", "target"), SIZES)
def test_the_whole_agrees_with_interpolate(size, target):
    image = noise(2, 4, *size)
    expected = F.interpolate(image, size=target, mode="bicubic", antialias=True)
    torch.testing.assert_close(resample(image, target), expected, rtol=0, atol=5e-5)
    expected = F.interpolate(image.double(), size=target, mode="bicubic", antialias=True)
    torch.testing.assert_close(resample(image.double(), target), expected, rtol=0, atol=1e-12)


def test_it_is_pillows_filter():
    plane = noise(48, 64)
    expected = np.asarray(Pillow.fromarray(plane.numpy()).resize((160, 30), Pillow.Resampling.BICUBIC))
    result = resample(plane[None, None], (30, 160))[0, 0].numpy()
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_region_is_the_crop_of_the_whole(data):
    size = [data.draw(st.integers(1, 90), label="size") for _ in range(2)]
    target = [data.draw(st.integers(1, min(16 * length, 300)), label="target") for length in size]
    top, left = (data.draw(st.integers(0, length - 1), label="corner") for length in target)
    height, width = data.draw(st.integers(1, target[0] - top)), data.draw(st.integers(1, target[1] - left))
    region = Region(top=top, left=left, height=height, width=width)
    image = noise(1, 2, *size)
    whole = resample(image, tuple(target))
    torch.testing.assert_close(resample(image, tuple(target), region), whole[region.slices], rtol=0, atol=1e-6)


def test_a_region_reads_only_what_it_needs():
    image = noise(1, 1, 100, 100)
    region = Region(top=0, left=0, height=120, width=120)
    expected = resample(image, (400, 400), region)
    image[..., 33:, :] = math.nan
    image[..., 33:] = math.nan
    assert torch.equal(resample(image, (400, 400), region), expected)


def test_a_constant_stays_constant():
    for _, target in SIZES:
        result = resample(torch.full((1, 3, 21, 33), 0.3), target)
        torch.testing.assert_close(result, torch.full((1, 3, *target), 0.3), rtol=0, atol=1e-6)


def test_precision_is_kept_under_autocast_and_for_half():
    image = noise(1, 3, 20, 20)
    expected = resample(image, (80, 80))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(resample(image, (80, 80)), expected)
    half = resample(image.bfloat16(), (80, 80))
    assert torch.equal(half, resample(image.bfloat16().float(), (80, 80)).bfloat16())


def test_gradients_pass():
    image = noise(1, 1, 5, 6, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resample(x, (7, 3)), image)


@pytest.mark.parametrize("region", [(0, 0, 11, 1), (-1, 0, 2, 2), (0, 8, 1, 3)])
def test_a_region_outside_is_an_error(region):
    top, left, height, width = region
    with pytest.raises(InputError, match="within the result of 10 x 10"):
        resample(noise(1, 1, 5, 5), (10, 10), Region(top=top, left=left, height=height, width=width))
