"""Figures of restored pairs."""

import pytest
import torch

from sdsr.objectives.pairs import mean_psnr, nearness


def test_psnr_is_the_mean_over_the_photos():
    image = torch.zeros(2, 3, 4, 4)
    assert mean_psnr(image, image + torch.tensor([0.1, 0.01]).view(2, 1, 1, 1)) == pytest.approx(30)
    assert mean_psnr(image, image) == float("inf")


def test_detail_is_that_of_the_hq_photo_where_contrast_is_halved(photo):
    figures = nearness(photo / 2, photo)
    assert figures["detail"] == pytest.approx(0.5)
    assert figures["psnr"] == pytest.approx(-10 * float((photo / 2).square().mean().log10()), abs=1e-4)
