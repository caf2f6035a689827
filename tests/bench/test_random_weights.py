"""Random weights that keep signals in bounds."""

import torch
from accelerate import init_empty_weights
from torch import nn

from bench.random_weights import randomize, store
from sdsr.prior.small import small_unet


def test_random_weights_keep_the_size_of_signals_and_come_from_the_seed() -> None:
    def made(seed: int) -> nn.Module:
        with init_empty_weights():
            unet = small_unet(4, widths=(32, 32)).requires_grad_(False)
        store(unet, torch.bfloat16)
        randomize(unet, "cpu", torch.Generator().manual_seed(seed))
        return unet

    first, again, other = made(0), made(0), made(1)
    assert {parameter.dtype for parameter in first.parameters()} == {torch.bfloat16, torch.float32}
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = first(torch.randn(1, 4, 16, 16), 500, torch.randn(1, 5, 128)).sample
    assert 0.3 < out.std() < 3
