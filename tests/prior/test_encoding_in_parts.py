"""A picture that is too large to encode at once has the latent that it would have had."""

import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

from sdsr.prior.group_statistics import imposed, mosaic, mosaic_of_picture, recorded
from sdsr.prior.posterior import encode_in_parts
from sdsr.prior.small import SmallLatents
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.prior.stable_diffusion import PublishedLatents

FACTOR = 4
SIZE = (26, 61)
WIDE = (26, 147)
"""In cells; no multiples of anything."""


def published(*, attention: bool = True, tile_cells: int = 16) -> PublishedLatents:
    """Random latents of the published kind: 4 px to a cell, posteriors with a deviation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoencoderKL(
            block_out_channels=(8, 8, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4,
            mid_block_add_attention=attention,
        )
        for norm in model.modules():
            if isinstance(norm, nn.GroupNorm):
                nn.init.normal_(norm.weight, 1, 0.2)
                nn.init.normal_(norm.bias, 0, 0.2)
    return PublishedLatents(model.eval().requires_grad_(False), tile_cells=tile_cells)


def autoencoder(depths=(1, 2, 2)) -> SmallAutoencoder:
    """The embedded autoencoder's shape, narrow and random, none of its layers silent."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SmallAutoencoder(4, widths=(8, 8, 8), depths=depths)
        for parameter in model.parameters():
            nn.init.normal_(parameter, 0, 0.2)
    return model.eval().requires_grad_(False)


def halves(rng, factor: int, size: tuple[int, int] = SIZE):
    """A picture of this size whose halves differ in color and contrast, as sky and ground do."""
    height, width = (side * factor for side in size)
    across = torch.linspace(-1, 1, width)
    ground = (across > 0) * 0.4 * torch.rand(1, 3, height, width, generator=rng)
    return (0.5 + 0.1 * torch.sigmoid(20 * across) + ground).clamp(0, 1)


@pytest.mark.parametrize("depths", [(1, 2, 2), (0, 1, 1), (2, 0, 3)])
@pytest.mark.parametrize("linear", [False, True])
def test_a_small_latent_in_parts_with_margin_is_the_wholes(rng, depths, linear):
    latents = SmallLatents(autoencoder(depths), linear=linear).in_tiles(8)
    picture, asked = halves(rng, 8), []

    def pixels(region):
        asked.append(region)
        return picture[region.slices]

    in_parts = latents.posterior_of(pixels, SIZE)
    whole = latents.posterior(picture)
    torch.testing.assert_close(in_parts.mean, whole.mean, rtol=1e-4, atol=1e-4)
    assert in_parts.std is whole.std is None
    assert len(asked) == 4 * 8
    without = encode_in_parts(
        latents.posterior, lambda region: picture[region.slices], SIZE, side=8, margin=0, factor=8
    )
    assert (without.mean - whole.mean).abs().max() > 0.01


@pytest.mark.parametrize("depths", [(1, 2, 2), (0, 1, 1), (2, 0, 3)])
@pytest.mark.usefixtures("plain_convolutions")
def test_the_small_encoders_halo_is_as_far_as_it_looks(depths):
    """Positive weights, so that no gradient cancels."""
    model, picture = autoencoder(depths), torch.rand(1, 3, 8, 41 * 8).requires_grad_()
    for parameter in model.encoder.parameters():
        nn.init.uniform_(parameter, 0.01, 0.02)
    model.encode(picture)[..., 20].sum().backward()
    assert picture.grad is not None
    columns = picture.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    assert 20 * 8 - int(columns.min()) == int(columns.max()) - 20 * 8 - 7 == model.encoder_halo_px


def test_a_picture_of_one_window_is_encoded_whole(rng):
    latents, picture = published(tile_cells=61), halves(rng, FACTOR)
    one, whole = latents.posterior_of(lambda region: picture[region.slices], SIZE), latents.posterior(picture)
    assert torch.equal(one.mean, whole.mean)
    assert one.std is not None
    assert whole.std is not None
    assert torch.equal(one.std, whole.std)


def test_parts_with_the_wholes_statistics_are_the_whole(rng):
    latents, picture = published(attention=False), halves(rng, FACTOR)
    with recorded(latents.model.encoder) as statistics:
        whole = latents.posterior(picture)
    with imposed(statistics):
        parts = encode_in_parts(
            latents.posterior,
            lambda region: picture[region.slices],
            SIZE,
            side=16,
            margin=latents.encoder_margin,
            factor=FACTOR,
        )
    torch.testing.assert_close(parts.mean, whole.mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(parts.std, whole.std, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("plain_convolutions")
def test_the_encoders_margin_is_hardly_more_than_it_looks(rng):
    latents, picture = published(attention=False), torch.rand(1, 3, 4, 61 * FACTOR).requires_grad_()
    for parameter in latents.model.encoder.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    with recorded(latents.model.encoder) as statistics:
        latents.posterior(picture.detach())
    with imposed(statistics):
        latents.posterior(picture).mean[..., 30].sum().backward()
    assert picture.grad is not None
    columns = picture.grad.abs().sum((0, 1, 2)).nonzero().flatten() // FACTOR
    assert 0 <= latents.encoder_margin - max(30 - int(columns.min()), int(columns.max()) - 30) <= 1


def test_shared_statistics_are_nearer_to_the_whole_than_windows_own(rng):
    """Statistics of a mosaic are a sample's; those of a window are of another picture."""
    latents, picture = published(attention=False, tile_cells=64), halves(rng, FACTOR, WIDE)

    def pixels(region):
        return picture[region.slices]

    whole = latents.posterior(picture).mean
    shared = latents.posterior_of(pixels, WIDE).mean
    margin = latents.encoder_margin
    alone = encode_in_parts(latents.posterior, pixels, WIDE, side=64, margin=margin, factor=FACTOR).mean
    assert (shared - whole).abs().mean() < 0.5 * (alone - whole).abs().mean()
    assert torch.equal(latents.posterior_of(pixels, WIDE).mean, shared)
    assert torch.equal(latents.posterior(picture).mean, whole)


def test_memory_is_bounded_by_the_part(rng):
    """Nothing larger is asked of the picture, or encoded, than a part with its margin, or the statistics' mosaic."""
    latents, picture, asked = published(tile_cells=32), halves(rng, FACTOR, WIDE), []
    encoded: list[int] = []
    latents.model.encoder.register_forward_pre_hook(lambda _, images: encoded.append(images[0].shape[-1]))

    def pixels(region):
        asked.append(region.width)
        return picture[region.slices]

    latents.posterior_of(pixels, WIDE)
    assert max(asked) == max(encoded) == FACTOR * (32 + 2 * latents.encoder_margin) < FACTOR * WIDE[1]
    assert encoded[0] == FACTOR * 32
    assert len(encoded) == 1 + 5


def test_a_mosaic_of_a_picture_is_that_of_its_latent(rng):
    cells = torch.arange(float(20 * 50)).view(1, 1, 20, 50)
    picture = cells.repeat_interleave(2, -1).repeat_interleave(2, -2).expand(-1, 3, -1, -1)
    small_picture = mosaic_of_picture(lambda region: picture[region.slices], (20, 50), 24, 2, 8)
    assert torch.equal(small_picture[:, :1, ::2, ::2], mosaic(cells, 24, 8))
    assert torch.equal(mosaic_of_picture(lambda region: picture[region.slices], (20, 50), 50, 2, 8), picture)
