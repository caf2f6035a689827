from dataclasses import replace

import pytest
import torch

from sdsr.diffusion.noise import CanvasNoise
from sdsr.prior.condition import Condition
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.restoration.restorer import PromptedCondition, Restorer, from_noised_photo, from_photo, latent_region
from sdsr.tensors import Region

NOISE = CanvasNoise(seeds=(7,))


def test_observing_encodes_the_enlarged_photo_and_asks_the_conditioner(restorer, lq_image):
    encoded = restorer.encode_lq(lq_image, "degraded", NOISE)
    assert torch.equal(encoded.latent, restorer.prior.encode(lq_image.enlarged()))
    assert torch.equal(encoded.condition.prompt, restorer.prior.embed("degraded"))
    assert encoded.negative_condition is None


def test_the_photo_is_looked_at_once_for_both_prompts_and_for_each_refreshment(restorer, lq_image):
    looks, heard = [], []

    def look(prior, lq_image, latent) -> PromptedCondition:
        looks.append((lq_image, latent))
        return lambda prompt: heard.append(prompt) or Condition(prompt=prior.embed(prompt))

    guided = replace(restorer, parts=replace(restorer.parts, conditioner=look, negative_prompt="degraded"))
    encoded = guided.encode_lq(lq_image, None, NOISE)
    assert (len(looks), heard) == (1, ["", "degraded"])
    guided.refresh(encoded, lambda region: torch.zeros(1, 3, region.height, region.width))
    assert (len(looks), heard) == (2, ["", "degraded"] * 2)
    (first, latent), (second, same) = looks
    assert latent is same is encoded.latent
    assert first is lq_image
    assert not second.enlarged().any()


def test_the_three_starts(restorer, lq_image):
    def start(rule) -> torch.Tensor:
        other = replace(restorer, parts=replace(restorer.parts, start=rule))
        return other.start(other.encode_lq(lq_image, None, NOISE), 400, NOISE)

    latent = restorer.encode_lq(lq_image, None, NOISE).latent
    noise = NOISE.at("start", 0, latent_region(lq_image.region, 8), 4)
    assert torch.equal(start(restorer.parts.start), noise)
    assert torch.equal(start(from_photo), latent)
    assert torch.equal(start(from_noised_photo), restorer.schedule.noisy(latent, noise, 400))


def test_guidance_moves_the_noise_away_from_the_negative_prompt(restorer, lq_image):
    guided = replace(restorer, parts=replace(restorer.parts, negative_prompt="degraded"))
    encoded = guided.encode_lq(lq_image, "clean", NOISE)
    noisy = NOISE.at("start", 0, latent_region(lq_image.region, 8), 4)
    with torch.inference_mode():
        wanted, unwanted = (
            restorer.prior.predict(noisy, 600, Condition(prompt=restorer.prior.embed(prompt)))
            for prompt in ("clean", "degraded")
        )
        for scale in (1.0, 2.5, 0.0):
            noise = unwanted + scale * (wanted - unwanted)
            result = guided.denoise(noisy, 600, encoded, scale)
            torch.testing.assert_close(result, restorer.schedule.clean(noise, noisy, 600), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(guided.denoise(noisy, 600, encoded, 2.5), guided.denoise(noisy, 600, encoded, 1.0))


def test_guidance_without_a_negative_prompt_changes_nothing(restorer, lq_image):
    encoded = restorer.encode_lq(lq_image, None, NOISE)
    with torch.inference_mode():
        assert torch.equal(
            restorer.denoise(encoded.latent, 300, encoded, 3.0), restorer.denoise(encoded.latent, 300, encoded, 1.0)
        )


@pytest.mark.parametrize(
    "region",
    [
        Region(top=0, left=0, height=8, width=8),
        Region(top=64, left=96, height=64, width=64),
        Region(top=208, left=232, height=16, width=8),
        Region(top=0, left=104, height=224, width=24),
    ],
)
def test_decoding_a_region_gives_that_part_of_the_whole(restorer, lq_image, region):
    clean = torch.randn(1, 4, 28, 30, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        part, whole = restorer.decode(clean, lq_image, region), restorer.decode(clean, lq_image)
    torch.testing.assert_close(part, whole[region.slices], atol=1e-5, rtol=0)


@pytest.mark.parametrize("depths", [(1, 1, 1), (0, 1, 2), (2, 0, 1)])
@pytest.mark.usefixtures("plain_convolutions")
def test_the_halo_reaches_as_far_as_the_decoder_looks_and_not_a_cell_farther(depths):
    """The middle pixels' gradient marks the cells that they depend on."""
    autoencoder = SmallAutoencoder(2, widths=(4, 4, 4), depths=depths)
    for parameter in autoencoder.decoder.parameters():
        torch.nn.init.uniform_(parameter, 0.05, 0.1)  # positive, so that no dependence cancels out
    cells, middle = 31, 15
    latent = torch.rand(1, 2, cells, cells, requires_grad=True)
    autoencoder.decode(latent)[..., middle * 8 : middle * 8 + 8, middle * 8 : middle * 8 + 8].sum().backward()
    assert latent.grad is not None
    rows = latent.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    reach = max(middle - int(rows.min()), int(rows.max()) - middle)
    margin = -(-autoencoder.halo_px // 8)
    assert reach <= margin <= reach + 1


def test_a_region_off_the_grid_is_refused(restorer):
    with pytest.raises(AssertionError, match="multiples of 8 px"):
        latent_region(Region(top=4, left=0, height=8, width=8), 8)
    assert isinstance(restorer, Restorer)


def test_guidance_in_one_batch_is_that_of_two_passes(restorer):
    prior = restorer.prior
    rng = torch.Generator().manual_seed(0)
    noisy = torch.randn(2, prior.channels, 14, 20, generator=rng)

    def condition(prompt: str) -> Condition:
        skips = [torch.randn(2, 32, 14 // by, 20 // by, generator=rng) for by in (1, 1, 2, 2)]
        return Condition(prompt=prior.embed(prompt), residuals=(tuple(skips), skips[-1] / 2))

    conditions = condition("clean"), condition("degraded")
    apart = [prior.denoise(noisy, 500, each) for each in conditions]
    together = prior.denoise_both(noisy, 500, *conditions)
    for one, other in zip(apart, together, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(apart[0], apart[1], atol=1e-2)
    times = torch.tensor([500, 300])
    first, _ = prior.denoise_both(noisy, times, *[Condition(prompt=prior.embed(said)) for said in ("clean", "")])
    alone = prior.denoise(noisy, times, Condition(prompt=prior.embed("clean")))
    torch.testing.assert_close(first, alone, atol=1e-4, rtol=1e-4)


def test_conditions_of_other_ports_are_not_joined(restorer):
    prompt = Condition(prompt=torch.zeros(1, 5, 8))
    features = {1: torch.zeros(1, 4, 2, 2)}
    for other in (
        Condition(prompt=torch.zeros(1, 6, 8)),
        replace(prompt, tokens=torch.zeros(1, 2, 4)),
        replace(prompt, sft_features=features),
        replace(prompt, adapter="another"),
    ):
        assert prompt.joined(other, 1) is None
    both = replace(prompt, sft_features=features, tokens=torch.ones(1, 2, 4))
    joined = both.joined(both, 3)
    assert joined is not None
    assert joined.sft_features is not None
    assert joined.tokens is not None
    assert (len(joined.prompt), len(joined.tokens), len(joined.sft_features[1])) == (6, 6, 6)
