from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from sdsr.images.color import (
    SIGNED_VARIANCE_FLOOR,
    VARIANCE_FLOOR,
    WAVELET_HALO_PX,
    adain,
    apply_moments,
    moments,
    wavelet,
    ycbcr,
)
from sdsr.tensors import Region

GOLDEN = {
    name: load_file(Path(__file__).parents[1] / f"golden/{name}/io.safetensors")
    for name in ("color_fix", "color_fix_wavelet")
}


def images(height=150, width=40):
    rng = torch.Generator().manual_seed(0)
    content = torch.rand(2, 3, height, width, generator=rng)
    return content, (
        0.5 * torch.rand(2, 3, height, width, generator=rng) + torch.tensor([0.1, 0.2, 0.4])[:, None, None]
    )


def strips(height, width, rows):
    return [Region(top=top, left=0, height=min(rows, height - top), width=width) for top in range(0, height, rows)]


@pytest.mark.parametrize(
    ("match", "golden", "result", "tolerance"),
    [
        (adain, "color_fix", "adain", 1e-5),
        (wavelet, "color_fix", "wavelet", 1e-5),
        (wavelet, "color_fix_wavelet", "wavelet_reconstruction", 2e-6),
        (ycbcr, "color_fix_wavelet", "invsr_ycbcr_color_replace", 5e-6),
    ],
)
def test_the_published_matches(match, golden, result, tolerance):
    tensors = GOLDEN[golden]
    torch.testing.assert_close(match(tensors["content"], tensors["style"]), tensors[result], rtol=0, atol=tolerance)


def test_wavelet_is_five_dilated_blurs_of_each():
    def low(image):
        kernel = torch.tensor([1.0, 2.0, 1.0], dtype=image.dtype)
        kernel = (kernel[:, None] * kernel / 16).expand(3, 1, 3, 3)
        for dilation in (1, 2, 4, 8, 16):
            image = F.pad(image, [dilation] * 4, mode="replicate")
            image = F.conv2d(image, kernel, groups=3, dilation=dilation)
        return image

    for size in ((150, 40), (1, 1), (3, 200), (64, 65)):
        content, style = (image.double() for image in images(*size))
        expected = content - low(content) + low(style)
        torch.testing.assert_close(wavelet(content, style), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rows", [7, 64, 149])
def test_strips_with_a_halo_give_the_whole_wavelet(rows):
    content, style = images()
    whole = wavelet(content, style)
    for strip in strips(150, 40, rows):
        wide = strip.expand(WAVELET_HALO_PX, within=(150, 40))
        part = wavelet(content[wide.slices], style[wide.slices])[strip.relative_to(wide).slices]
        torch.testing.assert_close(part, whole[strip.slices], rtol=0, atol=1e-6)


def test_the_halo_is_not_larger_than_needed():
    content, style = images()
    strip = Region(top=60, left=0, height=10, width=40)
    wide = strip.expand(WAVELET_HALO_PX - 1, within=(150, 40))
    part = wavelet(content[wide.slices].double(), style[wide.slices].double())[strip.relative_to(wide).slices]
    assert not torch.allclose(part, wavelet(content.double(), style.double())[strip.slices], rtol=0, atol=1e-9)


@pytest.mark.parametrize("rows", [7, 64, 150])
def test_moments_of_strips_add_up(rows):
    content, style = images()
    parts = strips(150, 40, rows)
    of_content, of_style = (reduce(add, (moments(image[part.slices]) for part in parts)) for image in (content, style))
    whole = adain(content, style)
    for part in parts:
        result = apply_moments(content[part.slices], of_content, of_style)
        torch.testing.assert_close(result, whole[part.slices], rtol=0, atol=1e-5)


def test_the_deviation_is_unbiased_with_a_floor():
    content, _ = images(3, 2)
    expected = (content.double().var((-2, -1)) + 1e-5).sqrt()
    np.testing.assert_allclose(moments(content).deviation(), expected, rtol=1e-7)
    assert np.square(moments(content[..., :1, :1]).deviation()).flatten().tolist() == pytest.approx([1e-5] * 6)


@pytest.mark.parametrize("contrast", [0.0, 1e-4, 1e-3, 3e-3, 1e-2, 0.1])
@pytest.mark.parametrize(("signed", "floor"), [(False, VARIANCE_FLOOR), (True, SIGNED_VARIANCE_FLOOR)])
def test_adain_is_the_published_one_on_either_range_at_any_contrast(signed, floor, contrast):
    """SeeSR's code computes on [0, 1], StableSR's on [-1, 1], each with 1e-5 beside the unbiased variance."""

    def published(content, style):
        (mean, deviation), (of_style, wanted) = (
            (x.mean((-2, -1), keepdim=True), (x.var((-2, -1), keepdim=True) + 1e-5).sqrt()) for x in (content, style)
        )
        return (content - mean) / deviation * wanted + of_style

    rng = torch.Generator().manual_seed(1)
    content, style = (0.4 + contrast * torch.rand(2, 3, 37, 52, generator=rng).double() * gain for gain in (1.0, 2.5))
    expected = (published(2 * content - 1, 2 * style - 1) + 1) / 2 if signed else published(content, style)
    torch.testing.assert_close(adain(content, style, floor), expected, rtol=0, atol=1e-9)
    if contrast == 3e-3:
        other = adain(content, style, SIGNED_VARIANCE_FLOOR if floor == VARIANCE_FLOOR else VARIANCE_FLOOR)
        assert (other - expected).std() > 0.01 * expected.std()


def test_adain_takes_mean_and_deviation():
    content, style = images()
    result = adain(content, style)
    torch.testing.assert_close(result.mean((-2, -1)), style.mean((-2, -1)), rtol=0, atol=1e-5)
    torch.testing.assert_close(result.std((-2, -1)), style.std((-2, -1)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("match", [adain, wavelet])
def test_a_shift_of_color_is_undone(match):
    photo, _ = images()
    shifted = photo + torch.tensor([0.1, -0.05, 0.02])[:, None, None]
    torch.testing.assert_close(match(shifted, photo), photo, rtol=0, atol=1e-5)


@pytest.mark.parametrize("match", [adain, wavelet, ycbcr])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (130, 2)])
def test_an_image_matches_itself_at_any_size(match, size):
    photo, _ = images(*size)
    torch.testing.assert_close(match(photo, photo), photo, rtol=0, atol=1e-5)


def test_flat_images_stay_finite():
    content, style = torch.full((1, 3, 40, 40), 0.5), torch.full((1, 3, 40, 40), 0.25)
    for match in (adain, wavelet):
        torch.testing.assert_close(match(content, style), style, rtol=0, atol=1e-6)


def test_gray_stays_gray():
    gray = torch.rand(1, 1, 50, 50, generator=torch.Generator().manual_seed(0)).expand(1, 3, 50, 50)
    content, _ = images(50, 50)
    result = ycbcr(content[:1], gray)
    torch.testing.assert_close(result[:, 0], result[:, 2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("match", [adain, wavelet, ycbcr])
def test_autocast_does_not_lower_precision(match):
    content, style = images(50, 50)
    expected = match(content, style)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(match(content, style), expected)
    assert match(content.bfloat16(), style.bfloat16()).dtype == torch.bfloat16
