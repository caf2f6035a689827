from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.steps import ancestral
from sdsr.prior.condition import Condition
from sdsr.prior.stable_diffusion import PublishedLatents
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import PromptedCondition, Restorer, latent_region
from sdsr.restoration.sample import sample
from sdsr.restoration.windowed import Windowed
from sdsr.tensors import Region

NOISE = CanvasNoise(seeds=(11,))
PLAN = Plan(times=(800, 300), step=ancestral)


def test_one_window_is_the_restorer_itself(restorer, lq_image):
    alone = sample(restorer, lq_image, PLAN, NOISE)
    windowed = Windowed(restorer=restorer, window_px=160, overlap_px=0)
    behind = sample(windowed, lq_image, PLAN, NOISE)
    torch.testing.assert_close(behind.clean, alone.clean, atol=1e-5, rtol=0)
    part = Region(top=96, left=144, height=16, width=16)
    torch.testing.assert_close(
        windowed.decode(alone.clean, lq_image, part), restorer.decode(alone.clean, lq_image, part)
    )


def test_windows_cover_the_canvas_and_see_their_part_of_the_photo(restorer, lq_image):
    windowed = Windowed(restorer=restorer, window_px=64, overlap_px=16)
    covered = torch.zeros(112, 160, dtype=torch.bool)
    for one in windowed.encode_lq(lq_image, None, NOISE):
        region = one.lq_image.region
        assert (region.height, region.width) == (64, 64)
        covered[region.slices[1:]] = True
        torch.testing.assert_close(one.lq_image.enlarged(), lq_image.enlarged()[region.slices])
    assert covered.all()


def test_windows_start_from_the_noise_of_the_canvas(restorer, lq_image):
    windowed = Windowed(restorer=restorer, window_px=64, overlap_px=32)
    started = windowed.start(windowed.encode_lq(lq_image, None, NOISE), 999, NOISE)
    expected = NOISE.at("start", 0, latent_region(lq_image.region, 8), 4)
    torch.testing.assert_close(started, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("window", "overlap"), [(64, 0), (64, 16), (96, 48)])
def test_a_constant_estimate_stays_constant(restorer, lq_image, window, overlap, monkeypatch):
    monkeypatch.setattr(Restorer, "denoise", lambda self, noisy, t, encoded, guidance=1.0: torch.full_like(noisy, 0.7))
    windowed = Windowed(restorer=restorer, window_px=window, overlap_px=overlap)
    clean = sample(windowed, lq_image, PLAN, NOISE).clean
    assert clean.shape == (1, 4, 14, 20)
    torch.testing.assert_close(clean, torch.full_like(clean, 0.7))


def test_each_window_gets_its_own_evidence(restorer, lq_image, monkeypatch):
    """A conditioner that tells the window's place, and an estimate that is what was told."""

    def look(prior, part, latent) -> PromptedCondition:
        return lambda prompt: Condition(prompt=torch.full((1, 1, 128), float(part.region.left)))

    monkeypatch.setattr(
        Restorer,
        "denoise",
        lambda self, noisy, t, encoded, guidance=1.0: torch.ones_like(noisy) * encoded.condition.prompt[0, 0, 0],
    )
    telling = replace(restorer, parts=replace(restorer.parts, conditioner=look))
    clean = sample(Windowed(restorer=telling, window_px=64, overlap_px=16), lq_image, PLAN, NOISE).clean
    assert torch.equal(clean[..., 0], torch.zeros(1, 4, 14))
    torch.testing.assert_close(clean[..., -1], torch.full((1, 4, 14), 96.0))
    assert (clean.diff(dim=-1) > -1e-4).all()


def test_an_estimate_that_windows_agree_on_is_not_changed(restorer, lq_image, monkeypatch):
    monkeypatch.setattr(Restorer, "denoise", lambda self, noisy, t, encoded, guidance=1.0: noisy / 2)
    both = (
        sample(one, lq_image, PLAN, NOISE).clean
        for one in (restorer, Windowed(restorer=restorer, window_px=64, overlap_px=32))
    )
    torch.testing.assert_close(*both, atol=1e-5, rtol=0)


def test_latents_of_windows_are_slices_of_the_canvas_encoded_once(restorer, lq_image):
    """With an encoder that normalises over space, a window that is encoded alone has another latent in its middle."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
        ).requires_grad_(False)
    prior = replace(restorer.prior, autoencoder=PublishedLatents(model))
    windowed = Windowed(restorer=replace(restorer, prior=prior), window_px=64, overlap_px=16)
    whole = windowed.restorer.encode_lq(lq_image, None, NOISE)
    encoded = windowed.encode_lq(lq_image, None, NOISE)
    assert len(encoded) == 6
    for one, cells in zip(encoded, windowed._cells(encoded), strict=True):
        assert torch.equal(one.latent, whole.latent[cells.slices])
        alone = windowed.restorer.encode_lq(one.lq_image, None, NOISE).latent
        assert (alone - one.latent)[..., 2:-2, 2:-2].abs().mean() > 0.02 * whole.latent.std()
