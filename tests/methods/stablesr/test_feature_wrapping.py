"""Feature wrapping: published size, fidelity, what is left of it afterwards, both kinds of autoencoder."""

import pytest
import torch
from diffusers import AutoencoderKL
from torch.nn.functional import pixel_unshuffle
from torch.utils.checkpoint import CheckpointError

from sdsr.errors import ModelError
from sdsr.methods.stablesr.feature_wrapping import FeatureWrapping, noted, places
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.prior.stable_diffusion import PublishedLatents

BLOCKS = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}


def published() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(block_out_channels=(8, 8, 16, 16), layers_per_block=1, norm_num_groups=4, **BLOCKS).eval()


def small() -> SmallAutoencoder:
    torch.manual_seed(0)
    model = SmallAutoencoder(4, widths=(8, 12, 8), depths=(1, 1, 1))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


KINDS = {"published": (published, 4), "small": (small, None)}


@pytest.fixture(params=KINDS)
def pair(request) -> tuple[AutoencoderKL | SmallAutoencoder, FeatureWrapping]:
    build, groups = KINDS[request.param]
    model = build()
    return model, FeatureWrapping(model, blocks=1, growth=4, groups=groups)


def decode(model: AutoencoderKL | SmallAutoencoder, latent: torch.Tensor) -> torch.Tensor:
    return PublishedLatents(model).decode(latent) if isinstance(model, AutoencoderKL) else model.decode(latent)


def features_of(model: AutoencoderKL | SmallAutoencoder, image: torch.Tensor) -> dict[int, torch.Tensor]:
    with torch.no_grad(), noted(model) as features:
        model.encode(image)
    return features


def test_published_size():
    with torch.device("meta"):
        wrapping = FeatureWrapping(AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, **BLOCKS))
    shares = {
        name: sum(parameter.numel() for parameter in part.parameters()) for name, part in wrapping.named_children()
    }
    assert shares == {"factor_2": 10_496_000, "factor_4": 33_897_728}
    assert len(wrapping.state_dict()) == 156


def test_features_are_those_before_resampling(pair):
    model, _ = pair
    features = features_of(model, torch.rand(2, 3, 32, 48))
    assert {factor: each.shape[-2:] for factor, each in features.items()} == {2: (16, 24), 4: (8, 12)}
    assert {factor: each.shape[1] for factor, each in features.items()} == {
        factor: place.channels for factor, place in places(model).items()
    }
    if isinstance(model, SmallAutoencoder):
        image = torch.rand(1, 3, 16, 16)
        found = features_of(model, image)
        encoder = model.encoder
        half = encoder.at_half(encoder.to_half(pixel_unshuffle(2 * image - 1, 2)))
        assert torch.equal(found[2], half)
        assert torch.equal(found[4], encoder.at_quarter(encoder.to_quarter(pixel_unshuffle(half, 2))))


@torch.no_grad()
def test_fidelity_0_and_afterwards_is_the_stock_decoder_bit_for_bit(pair):
    model, wrapping = pair
    latent, features = torch.randn(1, 4, 4, 6), features_of(model, torch.rand(1, 3, 32, 48))
    stock = decode(model, latent)
    with wrapping.fused(model, features, 0.0):
        assert torch.equal(decode(model, latent), stock)
    with wrapping.fused(model, features, 0.5):
        half = decode(model, latent)
    with wrapping.fused(model, features):
        whole = decode(model, latent)
    assert torch.equal(decode(model, latent), stock)
    assert not any(module._forward_hooks for module in model.modules())
    assert (half - stock).abs().max() > 1e-4
    assert (whole - half).abs().max() > 1e-4


def test_only_the_fusion_learns_and_all_of_it(pair):
    model, wrapping = pair
    model.requires_grad_(False).to(memory_format=torch.channels_last)
    with wrapping.fused(model, features_of(model, torch.rand(1, 3, 32, 48))):
        decode(model, torch.randn(1, 4, 4, 6)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in wrapping.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_features_of_another_size_are_refused(pair):
    model, wrapping = pair
    features = features_of(model, torch.rand(1, 3, 32, 32))
    with pytest.raises(ModelError, match="must be as large as the decoder's"), wrapping.fused(model, features):
        decode(model, torch.randn(1, 4, 4, 6))


@torch.no_grad()
@pytest.mark.usefixtures("plain_convolutions")
def test_the_small_one_depends_on_no_more_than_it_says():
    model = small()
    wrapping = FeatureWrapping(model, blocks=1, growth=4, groups=None)
    reach = model.halo_px + wrapping.halo_px
    assert wrapping.halo_px == 6 * 19
    side = 8 * (-(-reach // 8) + 4)
    latent, features = torch.randn(1, 4, 1, side // 8), {2: torch.randn(1, 8, 4, side // 2)}
    features[4] = torch.randn(1, 12, 2, side // 4)
    other = latent.clone()
    other[..., -1] += 100
    with wrapping.fused(model, features):
        changed = (decode(model, latent) != decode(model, other)).any(dim=(0, 1, 2))
    assert changed.any()
    assert int(changed.nonzero()[0]) >= side - 8 - reach


def test_checkpointing_needs_the_backward_pass_within():
    model = published().requires_grad_(False).train()
    wrapping, latent = FeatureWrapping(model, blocks=1, growth=4, groups=4), torch.randn(1, 4, 4, 4)
    features = features_of(model, torch.rand(1, 3, 32, 32))

    def gradient(within: bool) -> torch.Tensor:
        wrapping.zero_grad()
        with wrapping.fused(model, features):
            loss = decode(model, latent).square().mean()
            if within:
                loss.backward()
        if not within:
            loss.backward()
        return torch.cat(
            [parameter.grad.flatten() for parameter in wrapping.parameters() if parameter.grad is not None]
        )

    expected = gradient(within=False)
    model.enable_gradient_checkpointing()
    torch.testing.assert_close(gradient(within=True), expected)
    with pytest.raises(CheckpointError):
        gradient(within=False)
