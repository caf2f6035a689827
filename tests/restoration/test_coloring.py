import pytest
import torch

from sdsr.diffusion.noise import CanvasNoise
from sdsr.images.color import SIGNED_VARIANCE_FLOOR, adain, wavelet, ycbcr
from sdsr.restoration.coloring import finished_tiles
from sdsr.restoration.sample import Sampled

WHOLE = {"wavelet": wavelet, "adain": adain, "ycbcr": ycbcr, "none": lambda content, style: content}


@pytest.fixture
def sampled(restorer, lq_image) -> Sampled:
    encoded = restorer.encode_lq(lq_image, None, CanvasNoise(seeds=(0,)))
    clean = encoded.latent + 0.3 * torch.randn(encoded.latent.shape, generator=torch.Generator().manual_seed(2))
    return Sampled(t=1, clean=clean, encoded=encoded, last=True)


@pytest.mark.parametrize("tile_px", [64, 40, 1024])
@pytest.mark.parametrize("color_fix", sorted(WHOLE))
def test_tiles_together_are_the_whole_picture_decoded_and_corrected_at_once(
    restorer, lq_image, sampled, color_fix, tile_px
):
    with torch.inference_mode():
        content = restorer.decode(sampled.clean, lq_image)[..., :108, :152]
        whole = WHOLE[color_fix](content, lq_image.enlarged()[..., :108, :152])
    tiled, count = torch.full((1, 3, 108, 152), float("nan")), torch.zeros(108, 152, dtype=torch.int)
    for tile in finished_tiles(restorer.in_tiles(tile_px), lq_image, sampled, color_fix):
        assert tile.image.shape[-2:] == (tile.region.height, tile.region.width)
        tiled[tile.region.slices] = tile.image
        count[tile.region.slices[1:]] += 1
    assert (count == 1).all()
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("floor", [0.5, SIGNED_VARIANCE_FLOOR])
def test_the_floor_of_adain_is_the_given_one(restorer, lq_image, sampled, floor):
    with torch.inference_mode():
        content = restorer.decode(sampled.clean, lq_image)[..., :108, :152]
    (tile,) = finished_tiles(restorer, lq_image, sampled, "adain", adain_floor=floor)
    style = lq_image.enlarged()[..., :108, :152]
    torch.testing.assert_close(tile.image, adain(content, style, floor), atol=1e-5, rtol=0)
    assert not torch.allclose(tile.image, adain(content, style, 0.1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("color_fix", ["wavelet", "adain"])
def test_a_cast_is_corrected(restorer, lq_image, sampled, color_fix):
    """The decoder here is random, so its colors are off; what corrects brightness too brings them near the photo's."""
    wanted = lq_image.enlarged()[..., :108, :152].mean((0, 2, 3))
    means = {}
    for fix in (color_fix, "none"):
        (tile,) = finished_tiles(restorer, lq_image, sampled, fix)
        means[fix] = (tile.image.mean((0, 2, 3)) - wanted).abs().max()
    assert means[color_fix] < means["none"] / 2
