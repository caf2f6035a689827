"""Batched degradation: sizes, repeatability, strength like that of photo by photo, and each photo its own kernel."""

import numpy as np
import pytest
import torch

from bench.gpu.batched import _bank, degrade_batch
from sdsr.data.degradation import degradation, degrade
from sdsr.errors import InputError


@pytest.mark.parametrize("name", ["photo", "realesrgan", "d3sr"])
def test_size_range_and_repeatability(photo, name):
    hq = photo[..., :64, :96].repeat(3, 1, 1, 1)
    first, again, other = (degrade_batch(hq, degradation(name), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (3, 3, 16, 24)
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_it_degrades_as_much_as_photo_by_photo(photo):
    hq = photo[..., :64, :64].repeat(16, 1, 1, 1)
    settings = degradation("photo")
    clear = torch.nn.functional.interpolate(hq, (16, 16), mode="area")
    batched = torch.cat([degrade_batch(hq[:4], settings, np.random.default_rng(seed)) for seed in range(12)])
    single = degrade(hq[:1].repeat(48, 1, 1, 1), settings, range(48))
    errors = [float((lq - clear[:1]).abs().mean()) for lq in (batched, single)]
    assert 0.6 < errors[0] / errors[1] < 1.6, errors


def test_the_first_kernel_of_a_bank_changes_nothing_and_all_keep_brightness():
    bank = _bank(degradation("photo").first.blur)
    assert float(bank[0, 10, 10]) == 1
    assert float(bank[0].sum()) == 1
    torch.testing.assert_close(bank.sum((1, 2)), torch.ones(len(bank)), atol=1e-4, rtol=0)


def test_sides_that_do_not_fit_are_refused(photo):
    with pytest.raises(InputError, match="multiple of 4"):
        degrade_batch(photo[..., :62, :64], degradation("photo"), np.random.default_rng(0))
