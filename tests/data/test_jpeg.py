from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional

from sdsr.data import jpeg as module
from sdsr.data.jpeg import jpeg
from sdsr.errors import InputError

GOLDEN = load_file(Path(__file__).parents[1] / "golden/realesrgan_kernels/io.safetensors")


def assert_equal_but_for_ties(ours: torch.Tensor, published: torch.Tensor) -> None:
    assert ours.shape == published.shape
    assert ((ours - published).abs() <= 1e-4).float().mean() >= 0.995


@pytest.mark.parametrize(
    ("name", "quality", "smooth"),
    [
        ("q30_hard", (30.0, 30.0), False),
        ("q80_hard", (80.0, 80.0), False),
        ("per_sample_q47p3_q88p8_hard", (47.3, 88.8), False),
        ("q30_diff", (30.0, 30.0), True),
    ],
)
def test_result_is_the_published_one(name, quality, smooth):
    ours = jpeg(GOLDEN["image"], torch.tensor(quality), smooth=smooth)
    assert_equal_but_for_ties(ours, GOLDEN[f"jpeg.{name}"])


def test_odd_size():
    image = GOLDEN["image"][..., :50, :37]
    assert_equal_but_for_ties(jpeg(image, torch.tensor([50.0, 50.0])), GOLDEN["jpeg.odd_size_50x37_q50_hard"])


def test_tables_and_factor():
    assert torch.equal(module.luma_table(), GOLDEN["jpeg.luma_table"])
    assert torch.equal(module.chroma_table(), GOLDEN["jpeg.chroma_table"])
    factor = module.quality_factor(torch.tensor([10.0, 30, 50, 80, 95]))
    torch.testing.assert_close(factor, GOLDEN["jpeg.quality_factor_q10_q30_q50_q80_q95"])


def test_smooth_rounding_has_a_gradient():
    image = GOLDEN["image"].clone().requires_grad_()
    jpeg(image, torch.tensor([50.0, 50.0]), smooth=True).mean().backward()
    assert image.grad is not None
    assert image.grad.abs().max() > 0


@pytest.mark.parametrize("smooth", [False, True])
def test_at_quality_100_only_color_is_averaged(smooth):
    """Its steps are zero; the other photo of the batch keeps its own."""
    image = GOLDEN["image"].clone().requires_grad_()
    fine, coarse = jpeg(image, torch.tensor([100.0, 30.0]), smooth=smooth).split(1)
    nearly = jpeg(image[:1], torch.tensor([99.999]), smooth=smooth)
    torch.testing.assert_close(fine, nearly, rtol=0, atol=1e-3)
    torch.testing.assert_close(coarse, jpeg(image[1:], torch.tensor([30.0]), smooth=smooth), rtol=0, atol=1e-6)
    fine.sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad[0].abs().max() > 0
    gray = functional.avg_pool2d(GOLDEN["image"][:1, :1], 5, 1, 2).expand(-1, 3, -1, -1)
    torch.testing.assert_close(jpeg(gray, torch.tensor([100.0]), smooth=smooth), gray, rtol=0, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    quality=st.floats(1, 100, width=32) | st.floats(99.5, 100, width=32) | st.just(100.0),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64]),
    smooth=st.booleans(),
)
def test_results_and_gradients_are_finite_at_any_quality_and_size(quality, size, dtype, smooth):
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    result = jpeg(image, torch.tensor([quality]), smooth=smooth)
    result.float().square().sum().backward()
    assert result.dtype == dtype
    assert ((result >= 0) & (result <= 1)).all()
    assert image.grad is not None
    assert image.grad.isfinite().all()


@pytest.mark.parametrize("quality", [0.0, -5.0, 100.1, float("nan"), float("inf")])
def test_no_other_quality_is_taken(quality):
    with pytest.raises(InputError, match=r"quality \(=\S+\) of a JPEG must be in 1 \.\.\. 100"):
        jpeg(GOLDEN["image"], torch.tensor([50.0, quality]))


def test_autocast_changes_nothing():
    image, quality = GOLDEN["image"], torch.tensor([30.0, 80.0])
    with torch.autocast("cpu", torch.bfloat16):
        lowered = jpeg(image, quality)
    assert torch.equal(lowered, jpeg(image, quality))
