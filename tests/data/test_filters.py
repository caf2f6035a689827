from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from sdsr.data.filters import filter2d, unsharp_mask
from sdsr.data.kernels import gaussian_kernel

GOLDEN = load_file(Path(__file__).parents[1] / "golden/realesrgan_kernels/io.safetensors")


def test_one_kernel_for_all_photos():
    ours = filter2d(GOLDEN["image"], GOLDEN["kernel3.generalized_aniso"][None])
    torch.testing.assert_close(ours, GOLDEN["filter2d.single_kernel_kernel3_generalized_aniso"], atol=1e-5, rtol=0)


def test_a_kernel_for_each_photo():
    kernels = torch.stack((GOLDEN["kernel3.generalized_aniso"], GOLDEN["sinc2"]))
    ours = filter2d(GOLDEN["image"], kernels)
    torch.testing.assert_close(ours, GOLDEN["filter2d.per_sample_kernels_kernel3ga_sinc2"], atol=1e-5, rtol=0)


def test_odd_size_agrees_with_convolution():
    image, kernel = torch.rand(1, 3, 37, 53), torch.rand(1, 9, 9) / 81
    direct = functional.conv2d(functional.pad(image, (4,) * 4, mode="reflect").transpose(0, 1), kernel[None])
    torch.testing.assert_close(filter2d(image, kernel), direct.transpose(0, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(1, 70), (33, 64), (95, 150)])
@pytest.mark.parametrize("taps", [1, 3, 21])
def test_a_product_of_two_kernels_agrees_with_convolution(size, taps):
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, *size, generator=rng, dtype=torch.float64)
    down, across = torch.rand(2, taps, generator=rng)
    kernel = torch.outer(down, across)[None] / down.sum() / across.sum()
    columns, rows = (
        np.pad(np.arange(length), taps // 2, mode="reflect") if length > 1 else np.zeros(taps, int)
        for length in size[::-1]
    )
    padded = image[:, :, rows][..., columns].flatten(0, 1)[:, None]
    direct = functional.conv2d(padded, kernel.double()[None]).view(image.shape)
    torch.testing.assert_close(filter2d(image.float(), kernel), direct.float(), atol=2e-6, rtol=0)


def test_a_kernel_that_is_nearly_a_product_is_none():
    """A rotated Gaussian: filtered whole, not by its rows and columns."""
    kernel = gaussian_kernel(13, 2.0, 1.5, 0.3)
    image = GOLDEN["image"][:1]
    direct = functional.conv2d(functional.pad(image, (6,) * 4, mode="reflect").transpose(0, 1), kernel[None])
    torch.testing.assert_close(filter2d(image, kernel), direct.transpose(0, 1), atol=1e-6, rtol=0)


def test_border_wider_than_the_photo_keeps_a_flat_photo_flat():
    kernel = gaussian_kernel(21, 3.0, 3.0)
    for size in ((1, 1), (1, 5), (4, 7)):
        flat = torch.full((1, 3, *size), 0.7)
        torch.testing.assert_close(filter2d(flat, kernel), flat, atol=1e-6, rtol=0)


def test_unsharp_mask_is_the_published_one():
    kernel = gaussian_kernel(51, 8.0, 8.0)
    torch.testing.assert_close(kernel[0], GOLDEN["usm.kernel_51x51"], atol=1e-6, rtol=0)
    torch.testing.assert_close(unsharp_mask(GOLDEN["image"]), GOLDEN["usm.default_w0p5_t10"], atol=1e-5, rtol=0)
