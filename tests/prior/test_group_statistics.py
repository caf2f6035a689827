import copy

import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

from sdsr.prior.group_statistics import imposed, mosaic, recorded
from sdsr.prior.posterior import decode_around
from sdsr.prior.stable_diffusion import PublishedLatents
from sdsr.tensors import Region

FACTOR = 4
PARTS = tuple(Region(top=0, left=left, height=24, width=32) for left in (0, 32, 64))


def autoencoder(*, attention: bool = True) -> AutoencoderKL:
    """An AutoencoderKL of a few thousand random parameters, its norms' affine maps included."""
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
    return model.eval().requires_grad_(False)


@pytest.fixture
def halves(rng):
    """A latent (1, 4, 24, 96) whose halves differ in color and contrast, as sky and ground do."""
    across = torch.linspace(-1, 1, 96)
    return torch.sigmoid(20 * across) * 2 - 1 + (0.3 + 0.5 * (across > 0)) * torch.randn(1, 4, 24, 96, generator=rng)


def assembled(decode, latent):
    """The picture decoded in three parts, side by side; no convolution sees where they end."""
    model = PublishedLatents(autoencoder())
    parts = (decode_around(decode, latent, part, margin=model.margin, factor=FACTOR) for part in PARTS)
    return torch.cat(list(parts), dim=-1)


def step(image):
    """How much the colors of columns change from part to part, over how much from cell to cell elsewhere."""
    change = image.mean(dim=2).diff(dim=-1).abs().mean(dim=(0, 1))[FACTOR - 1 :: FACTOR]
    borders = torch.zeros(len(change), dtype=torch.bool)
    borders[[part.left - 1 for part in PARTS[1:]]] = True
    return float(change[borders].mean() / change[~borders].mean())


@pytest.mark.parametrize("batch", [1, 2])
def test_a_model_on_which_its_own_statistics_are_imposed_is_that_model(rng, batch):
    model, latent = autoencoder(), torch.randn(batch, 4, 7, 9, generator=rng)
    with recorded(model.decoder) as statistics:
        plain = model.decode(latent).sample
    assert len(statistics) == 18
    with imposed(statistics):
        torch.testing.assert_close(model.decode(latent).sample, plain, atol=1e-5, rtol=1e-5)
        shifted = model.decode(2 * latent + 1).sample
    assert not torch.allclose(shifted, model.decode(2 * latent + 1).sample, atol=0.01)


def test_statistics_are_mean_and_variance_of_a_layers_groups(rng):
    norm, x = nn.GroupNorm(2, 6), torch.randn(3, 6, 5, 4, generator=rng) + 2
    with recorded(norm) as statistics:
        norm(x)
    mean, variance = statistics[norm]
    torch.testing.assert_close(mean, x.view(3, 2, -1).mean(-1))
    torch.testing.assert_close(variance, x.view(3, 2, -1).var(-1, correction=0))


def test_afterwards_the_model_is_what_it_was_even_after_an_error(rng):
    model, latent = autoencoder(), torch.randn(1, 4, 6, 6, generator=rng)
    plain, before = model.decode(latent).sample, copy.deepcopy(model.state_dict())
    with recorded(model.decoder) as statistics:
        model.decode(latent * 3)
    with pytest.raises(RuntimeError), recorded(model), imposed(statistics):
        model.decode(latent.expand(2, -1, -1, -1))
    assert torch.equal(model.decode(latent).sample, plain)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_without_attention_parts_with_the_whole_pictures_statistics_are_the_whole(halves):
    model = autoencoder(attention=False)
    with recorded(model.decoder) as statistics:
        whole = model.decode(halves).sample
    with imposed(statistics):
        parts = assembled(lambda latent: model.decode(latent).sample, halves)
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)


def test_shared_statistics_leave_no_step_where_parts_with_their_own_have_one(halves):
    """With attention, which sees the part alone, some difference is left: a tenth of the step at most."""
    model = autoencoder()
    with recorded(model.decoder) as statistics:
        whole = model.decode(halves).sample
    alone = assembled(lambda latent: model.decode(latent).sample, halves)
    with imposed(statistics):
        together = assembled(lambda latent: model.decode(latent).sample, halves)
    assert step(alone) > 2 * step(whole)
    assert abs(step(together) - step(whole)) < 0.1 * (step(alone) - step(whole))
    assert (together - whole).abs().mean() < 0.3 * (alone - whole).abs().mean()


def test_a_mosaic_is_patches_from_border_to_border(rng):
    latent = torch.arange(20.0 * 50).view(1, 1, 20, 50)
    small = mosaic(latent, 24, 8)
    assert small.shape == (1, 1, 20, 24)
    columns = [*range(8), *range(21, 29), *range(42, 50)]
    assert torch.equal(small, latent[..., columns])
    assert torch.equal(mosaic(latent, 50, 8), latent)
    assert mosaic(latent, 17, 8).shape == (1, 1, 16, 16)
