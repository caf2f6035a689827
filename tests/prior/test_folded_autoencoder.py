"""The folded autoencoder: parts are those of the whole, constant pictures have no grid, it is stored."""

import pytest
import torch

from sdsr.errors import ModelError
from sdsr.prior.folded_autoencoder import FACTOR, FoldedAutoencoder
from sdsr.prior.small import SmallLatents
from sdsr.prior.small_storage import fresh_small_prior, load_small_prior, save_small_prior
from sdsr.tensors import Region


def small(**changed) -> FoldedAutoencoder:
    torch.manual_seed(0)
    shape = {"widths": (8, 8, 8), "decoder_widths": (8, 8), "ends": (8, 8), **changed}
    return FoldedAutoencoder(4, **shape).eval()


@pytest.mark.parametrize("blocks", [(1, (1, 1)), (2, (2, 3))])
def test_no_more_than_the_halo_is_seen(blocks):
    model = small(blocks=blocks[0], decoder_blocks=blocks[1])
    side = 2 * FACTOR * -(-(model.halo_px + FACTOR) // FACTOR)
    latent = torch.zeros(1, 4, side // FACTOR, side // FACTOR)
    middle = side // FACTOR // 2
    with torch.no_grad():
        before = model.decode(latent)
        latent[..., middle, middle] = 3.0
        changed = (model.decode(latent) != before).any(1)[0].nonzero()
    cell = middle * FACTOR
    assert int(changed.min()) >= cell - model.halo_px
    assert int(changed.max()) < cell + FACTOR + model.halo_px
    assert int(changed.min()) < cell - model.halo_px // 2, "the halo is not far more than what is seen"


def test_parts_are_those_of_the_whole(photo):
    model = small()
    image = torch.nn.functional.interpolate(photo[:1], (320, 320))
    latents = SmallLatents(model)
    with torch.no_grad():
        whole = model.encode(image)
        cells = Region(top=7, left=11, height=5, width=9)
        part = latents.decode_part(whole, cells)
        torch.testing.assert_close(part, model.decode(whole)[cells.scaled(FACTOR).slices], atol=1e-5, rtol=0)


def test_a_fresh_decoder_has_no_grid():
    latent = torch.full((1, 4, 40, 40), 0.7)
    with torch.no_grad():
        inside = small().decode(latent)[..., 120:200, 120:200]
    assert float(inside.std(dim=(-2, -1)).max()) < 1e-6


def test_a_prior_on_it_is_stored_with_its_kind(tmp_path):
    prior = fresh_small_prior(small(), widths=(32, 32))
    save_small_prior(prior, tmp_path / "prior")
    again = load_small_prior(tmp_path / "prior")
    assert isinstance(again.modules["autoencoder"], FoldedAutoencoder)
    assert again.channels == 4
    config = tmp_path / "prior" / "config.json"
    config.write_text(config.read_text().replace('"folded"', '"unheard of"'))
    with pytest.raises(ModelError, match="autoencoder_kind"):
        load_small_prior(tmp_path / "prior")


def test_there_is_no_linear_path():
    latents = SmallLatents(FoldedAutoencoder())
    assert latents.linearly is latents
