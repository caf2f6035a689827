"""What is special in StableSR: published sizes and plans, what learns when, fidelity, windows, checkpointing."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import InputError
from sdsr.images.color import SIGNED_VARIANCE_FLOOR
from sdsr.images.windows import blend
from sdsr.methods import METHODS
from sdsr.methods.ablations import ABLATIONS
from sdsr.methods.stablesr.decoder import WrappedDecoder
from sdsr.methods.stablesr.feature_wrapping import FeatureWrapping, noted
from sdsr.methods.stablesr.recipes import SMALL_METHOD, STABLESR, STABLESR_768V, STABLESR_SMALL, STABLESR_TURBO
from sdsr.photos.photo import Photo
from sdsr.prior.shapes import shape_prior
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.prior.small_storage import fresh_small_prior
from sdsr.prior.stable_diffusion import PublishedLatents
from sdsr.prior.tiny import tiny_prior
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.restorer import Restorer, from_noise, from_noised_photo
from sdsr.restoration.sample import sample
from sdsr.restoration.windowed import Windowed
from sdsr.tensors import Region
from sdsr.upscaling import Request, Upscaler
from tests.published_windows import gaussian_weight, published_weight
from tests.tensors import pair, stir

WRAPPED = replace(STABLESR_SMALL, method=SMALL_METHOD, color_fix="wavelet")
"""The small recipe with the paper's own decoder."""

NOISE = CanvasNoise(seeds=(7,))
published_windows = partial(Windowed, window_px=512, overlap_px=256, weight=published_weight)
"""Aggregation sampling exactly as published: 64 cells, 32 of them shared, weights half a cell off center in rows."""


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_flat_pictures_take_colors_as_published_on_both_ranges(restorer):
    """StableSR's programs match colors on [-1, 1], SeeSR's and AddSR's on [0, 1]; what restores asks the recipe."""
    assert [METHODS[name].adain_floor for name in ("stablesr", "stablesr-768v", "stablesr-turbo")] == [2.5e-6] * 3
    assert [METHODS[name].adain_floor for name in ("seesr", "addsr", "consissr")] == [1e-5] * 3
    photo = Photo(pixels=np.full((16, 24, 3), 128, np.uint8))
    results = [
        Upscaler(replace(WRAPPED, adain_floor=floor), restorer)
        .upscale(photo, Request(scale=2, steps=1, color_fix="adain"))
        .pixels
        for floor in (SIGNED_VARIANCE_FLOOR, 1e6)
    ]
    assert results[0].astype(int).std() < results[1].astype(int).std()


@pytest.fixture
def restorer() -> Restorer:
    """The small method on the tiny prior; decoder and fusion are random, so that both are felt."""
    torch.manual_seed(0)
    restorer = WRAPPED.method.build("tiny")
    schedule = restorer.prior.schedule.predicting("v_prediction")
    restorer = replace(restorer, prior=restorer.prior.adapted(schedule=schedule))
    stir(restorer.prior.modules["autoencoder"])
    stir(restorer.parts.modules["feature_wrapping"], 0.05)
    return restorer


def test_full_size_is_the_published_one():
    prior = shape_prior("sd-2.1-base", image_encoder=False)
    with torch.device("meta"):
        parts = STABLESR.method.build(prior, "meta").parts.modules
    assert {name: count(part) for name, part in parts.items()} == {
        "time_aware_encoder": 52_494_080,
        "modulation": 53_020_160,
        "feature_wrapping": 44_393_728,
    }
    assert count(prior.unet) + count(parts["modulation"]) == 918_930_884


def test_the_small_one_is_at_most_10_mb():
    parts = WRAPPED.method.build(fresh_small_prior(SmallAutoencoder())).parts.modules
    assert count(parts) == 4_669_600
    assert sum(2 * tensor.numel() for tensor in parts.state_dict().values()) <= 10_000_000


def test_the_published_plans():
    for recipe, first, last in ((STABLESR, (999, 994, 989), (5, 0)), (STABLESR_TURBO, (999, 666, 333), (333, 0))):
        assert recipe.plan.times[:3] == first
        assert recipe.plan.times[-2:] == last
        assert recipe.plan.fidelity == 0.5
    assert (len(STABLESR.plan.times), len(STABLESR_768V.plan.times), len(WRAPPED.plan.times)) == (200, 200, 50)
    starts = [recipe.method.build("tiny").parts.start for recipe in (STABLESR, STABLESR_768V, STABLESR_TURBO, WRAPPED)]
    assert starts == [from_noise, *[from_noised_photo] * 3]


@pytest.mark.parametrize(
    ("stage", "learning"), [("modulation", {"time_aware_encoder", "modulation"}), ("fusion", {"feature_wrapping"})]
)
@pytest.mark.parametrize("recipe", [STABLESR, WRAPPED], ids=lambda recipe: recipe.name)
def test_what_each_stage_trains(recipe, stage, learning):
    parts = recipe.stage(stage).build("tiny").parts.modules
    assert {name for name, part in parts.items() if all(p.requires_grad for p in part.parameters())} == learning
    assert {name for name, part in parts.items() if any(p.requires_grad for p in part.parameters())} == learning


def test_the_maps_change_with_the_time_and_the_prompt_does_not(restorer, photo):
    lq_image = LqImage.of(photo[..., :16, :24], (64, 96), 16)
    encoded = restorer.encode_lq(lq_image, None, NOISE)
    early, late = (encoded.condition(encoded.latent, t) for t in (900, 100))
    assert torch.equal(early.prompt, late.prompt)
    assert early.sft_features.keys() == {1, 2}
    stir(restorer.parts.modules["time_aware_encoder"])
    early, late = (encoded.condition(encoded.latent, t).sft_features for t in (900, 100))
    assert (early[1] - late[1]).abs().max() > 1e-3


def test_untrained_the_wrapping_adds_nothing(photo):
    restorer = WRAPPED.method.build("tiny")
    stir(restorer.prior.modules["autoencoder"])
    lq_image = LqImage.of(photo[..., :16, :24], (64, 96), 16)
    clean = torch.randn(1, 4, 8, 12)
    assert torch.equal(restorer.decode(clean, lq_image, fidelity=1.0), restorer.decode(clean, lq_image))


@torch.no_grad()
def test_fidelity_0_is_the_prior_bit_for_bit_and_the_rest_is_its_formula(restorer, photo):
    lq_image = LqImage.of(photo[..., :16, :24], (64, 96), 16)
    clean = torch.randn(1, 4, 8, 12)
    stock = restorer.prior.decode(clean)
    assert torch.equal(restorer.decode(clean, lq_image, fidelity=0.0), stock)
    wrapping, model = restorer.parts.modules["feature_wrapping"], restorer.prior.autoencoder.model
    with noted(model) as features:
        restorer.prior.encode(lq_image.enlarged())
    with wrapping.fused(model, features, 0.7):
        expected = restorer.prior.decode(clean)
    found = restorer.decode(clean, lq_image, fidelity=0.7)
    assert torch.equal(found, expected)
    assert (found - stock).abs().max() > 1e-3
    assert torch.equal(restorer.decode(clean, lq_image), stock)


@torch.no_grad()
def test_parts_are_decoded_like_the_whole(restorer, photo):
    lq_image = LqImage.of(photo[..., :64, :96], (256, 384), 16)
    tiled = restorer.in_tiles(128)
    windowed = Windowed(restorer=tiled, window_px=128, overlap_px=64)
    clean = torch.randn(1, 4, 32, 48, generator=torch.Generator().manual_seed(2))
    whole = restorer.decode(clean, lq_image, fidelity=1.0)
    for region in (Region(top=0, left=0, height=64, width=64), Region(top=104, left=200, height=48, width=80)):
        for found in (
            tiled.decode(clean, lq_image, region, fidelity=1.0),
            windowed.decode(clean, lq_image, region, fidelity=1.0),
        ):
            torch.testing.assert_close(found, whole[region.slices], atol=1e-4, rtol=0)


@torch.no_grad()
def test_parts_of_an_autoencoder_that_normalises_share_their_statistics(photo, monkeypatch):
    """Without them, each part is normalised by itself, and far from the whole."""
    torch.manual_seed(0)
    model = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )
    wrapping = FeatureWrapping(model.eval(), blocks=1, growth=4, groups=4)
    prior = replace(tiny_prior(), autoencoder=PublishedLatents(model))
    lq_image, decoder = LqImage.of(photo[..., :, :32], (384, 128), 16), WrappedDecoder(wrapping)
    tone = torch.linspace(-2, 2, 48)[:, None].expand(1, 4, 48, 16)
    clean = tone + 0.5 * torch.randn(1, 4, 48, 16, generator=torch.Generator().manual_seed(2))
    cells = Region(top=4, left=0, height=4, width=16)
    whole = decoder(prior, clean, lq_image, cells, 1.0)
    prior = prior.adapted(autoencoder=prior.autoencoder.in_tiles(32))
    monkeypatch.setattr("sdsr.methods.stablesr.decoder.WrappedDecoder._margin", lambda self, prior: 12)
    together = decoder(prior, clean, lq_image, cells, 1.0)
    monkeypatch.setattr("sdsr.methods.stablesr.decoder.WrappedDecoder._statistics_of", lambda *_: {})
    alone = decoder(prior, clean, lq_image, cells, 1.0)
    assert (together - whole).abs().mean() < 0.5 * (alone - whole).abs().mean()


def test_fidelity_is_asked_for_and_refused_where_it_means_nothing(restorer, photo):
    recipe = WRAPPED.with_plan(replace(WRAPPED.plan, times=(999, 0)))
    given = Photo(pixels=(photo[0, :, :16, :16].permute(1, 2, 0) * 255).byte().numpy())
    upscaler = Upscaler(recipe, restorer)
    none, half, all_of_it = (upscaler.upscale(given, Request(fidelity=w)).pixels.astype(int) for w in (0, 0.5, 1.0))
    assert (none != half).any()
    assert (half != all_of_it).any()
    assert (upscaler.upscale(given, Request()).pixels == all_of_it).all()
    with pytest.raises(InputError, match=r"fidelity \(=1.5\) must be in 0 \.\.\. 1"):
        upscaler.upscale(given, Request(fidelity=1.5))


def test_published_windows(restorer, photo):
    """64 cells that share 32, as many as published, blended with the published weights."""
    windows = published_windows(restorer=restorer)
    lengths = {length: len(windows.windows((512, 8 * length))) for length in (64, 96, 128, 160, 256, 512)}
    assert lengths == {64: 1, 96: 2, 128: 3, 160: 4, 256: 7, 512: 15}
    wide = published_windows(restorer=restorer, window_px=768, overlap_px=384)
    assert (wide.window_px, wide.overlap_px, len(wide.windows((768, 1024)))) == (768, 384, 2)
    narrow = replace(windows, window_px=64, overlap_px=32)
    lq_image = LqImage.of(photo[..., :24, :24], (96, 96), 16)
    plan = replace(WRAPPED.plan, times=(500,))
    clean = sample(narrow, lq_image, plan, NOISE).clean
    with torch.inference_mode():
        encoded = narrow.encode_lq(lq_image, None, NOISE)
        noisy = narrow.start(encoded, 500, NOISE)
        cells = narrow._cells(encoded)
        each = [restorer.denoise(noisy[cell.slices], 500, one) for cell, one in zip(cells, encoded, strict=True)]
    expected = blend(zip(cells, each, strict=True), (12, 12), weight=published_weight)
    torch.testing.assert_close(clean, expected)
    assert not torch.allclose(sample(replace(narrow, weight=gaussian_weight), lq_image, plan, NOISE).clean, expected)


@pytest.mark.parametrize("recipe", [STABLESR, WRAPPED], ids=lambda recipe: recipe.name)
def test_checkpointing_does_not_change_what_the_modulation_learns(recipe, photo):
    def gradients(checkpointed: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        stage = recipe.stage("modulation")
        restorer = stage.build("tiny")
        restorer.prior.unet.train()
        if checkpointed:
            restorer.prior.unet.enable_gradient_checkpointing()
        stir(restorer.parts.modules["time_aware_encoder"], 0.02)
        training_step = stage.objective.training_step(restorer, None)
        training_step(pair(photo), torch.Generator().manual_seed(0), 0.0).loss.backward()
        return [p.grad for _, p in training_step.named_parameters() if p.grad is not None]

    expected, found = gradients(False), gradients(True)
    assert len(expected) > 50
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


def test_the_variant_without_time_is_not_told_it_and_can_be_trained(photo):
    rows = ABLATIONS["stablesr-time"]
    stage = rows["without time"].trained({})
    restorer = stage.build("tiny")
    stir(restorer.parts.modules["time_aware_encoder"])
    latent = torch.randn(1, 4, 8, 8)
    encoder = restorer.parts.modules["time_aware_encoder"]
    early, late = encoder(latent, 900), encoder(latent, 100)
    assert all(torch.equal(early[factor], late[factor]) for factor in early)
    training_step = stage.objective.training_step(restorer, None)
    assert training_step(pair(photo), torch.Generator().manual_seed(0), 0.0).loss.isfinite()
    other = WRAPPED.method.build("tiny").parts.modules
    assert set(other.state_dict()) > set(restorer.parts.modules.state_dict())
