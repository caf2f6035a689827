"""The decoder of guessed latents: size, identity at first, two ends, how far it sees, no grid to begin with."""

import pytest
import torch

from sdsr.adapters.guided_decoder import GuidedDecoder


@pytest.fixture
def decoder() -> GuidedDecoder:
    torch.manual_seed(0)
    return GuidedDecoder(4, width=16, blocks=2, widths=(8, 4)).eval()


def inputs(side: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(1, 4, side // 8, side // 8), torch.rand(1, 3, side, side)


def test_size():
    decoder = GuidedDecoder(32)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == 1_085_894


def test_fresh_it_stays_near_the_photo(decoder):
    latent, enlarged = inputs()
    with torch.no_grad():
        assert (decoder(latent, enlarged) - enlarged).abs().mean() < 0.1


def test_fidelity_mixes_the_ends(decoder):
    latent, enlarged = inputs()
    with torch.no_grad():
        detailed, middle, faithful = (decoder(latent, enlarged, fidelity) for fidelity in (0.0, 0.25, 1.0))
    torch.testing.assert_close(middle, 0.75 * detailed + 0.25 * faithful, atol=1e-5, rtol=1e-5)
    assert (detailed - faithful).abs().max() > 1e-3


def test_it_sees_no_further_than_it_says(decoder):
    latent, enlarged = inputs(256)
    latent.requires_grad_()
    enlarged.requires_grad_()
    row = 128
    decoder(latent, enlarged, 0.5)[:, :, row].sum().backward()
    for tensor, cell in ((latent, 8), (enlarged, 1)):
        assert tensor.grad is not None
        seen = tensor.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten() * cell
        assert row - decoder.halo_px <= int(seen.min())
        assert int(seen.max()) + cell - 1 <= row + decoder.halo_px
        assert int(seen.max()) > row + decoder.halo_px - 40, "the stated halo is far too wide"


def test_unfolding_begins_without_a_grid(decoder):
    """All pixels of a cell begin with the same kernel: a flat photo and latent give a flat picture."""
    with torch.no_grad():
        picture = decoder(torch.ones(1, 4, 24, 24), torch.full((1, 3, 192, 192), 0.4))
    inner = picture[..., 64:128, 64:128]
    assert (inner - inner.mean(dim=(2, 3), keepdim=True)).abs().max() < 0.02
