"""Loss terms filter as finely under autocast as without: fine detail is smaller than the steps of bfloat16."""

import pytest
import torch

from sdsr.losses.filters import gaussian_blur, high_pass, local_energies, sobel


@pytest.mark.parametrize("filtered", [lambda x: gaussian_blur(x, 1.5), high_pass, local_energies, sobel])
def test_filters_ignore_autocast(photo, filtered):
    with torch.autocast("cpu", torch.bfloat16):
        under = filtered(photo)
    torch.testing.assert_close(under, filtered(photo), atol=1e-6, rtol=0)
