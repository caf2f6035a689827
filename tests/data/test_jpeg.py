from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sdsr.data import jpeg as module
from sdsr.data.jpeg import jpeg

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
