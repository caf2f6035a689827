import pytest
import torch
from torch.nn import functional

from sdsr.data.resizing import RESIZE_MODES, resized, scaled


@pytest.mark.parametrize("size", [(7, 9), (40, 50), (41, 77), (97, 50), (100, 301), (33, 64)])
def test_areas_are_averaged_as_torch_does(size):
    image = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    expected = functional.interpolate(image, size=size, mode="area")
    torch.testing.assert_close(resized(image, size, "area"), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("factor", [0.37, 1.0, 1.3])
def test_a_factor_is_what_torch_makes_of_it(mode, factor):
    image = torch.rand(1, 3, 40, 57, generator=torch.Generator().manual_seed(1))
    expected = functional.interpolate(image, scale_factor=factor, **RESIZE_MODES[mode])
    torch.testing.assert_close(scaled(image, factor, mode), expected, atol=1e-6, rtol=0)
