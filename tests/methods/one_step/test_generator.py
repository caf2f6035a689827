"""One-step generators: published sizes, the formula, adapted copies, fusing, and D3SR's discriminators."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from sdsr.adapters.lora import Lora
from sdsr.adapters.sharing import share_weights
from sdsr.diffusion.noise import CanvasNoise
from sdsr.discriminators.diffusion_unet import DiffusionDiscriminator
from sdsr.discriminators.sources import discriminator_unet
from sdsr.methods import METHODS
from sdsr.methods.ablations import ABLATIONS
from sdsr.methods.one_step.generator import D3SR, HYPIR, OSEDIFF
from sdsr.methods.one_step.recipes import NoisedDiscriminator
from sdsr.prior.shapes import UNET
from sdsr.prior.tiny import tiny_prior
from sdsr.prior.weight_files import module_sha256
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.restorer import Restorer
from sdsr.studies.complexity import complexity

NOISE = CanvasNoise(seeds=(4,))


def stirred(restorer: Restorer) -> Restorer:
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in restorer.parts.modules.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=rng)
    return restorer


def clean(restorer: Restorer, photo: torch.Tensor, t: int = 399) -> torch.Tensor:
    with torch.no_grad():
        encoded = restorer.encode_lq(LqImage.of(photo[..., :16, :16], (64, 64), 16), None, NOISE)
        return restorer.denoise(restorer.start(encoded, t, NOISE), t, encoded)


def test_hypir_has_its_published_size():
    with torch.device("meta"):
        lora = Lora(UNet2DConditionModel(**UNET), rank=HYPIR.rank, alpha=HYPIR.alpha, targets=HYPIR.targets)
    assert sum(parameter.numel() for parameter in lora.parameters()) == 259_474_432


@pytest.mark.slow
def test_d3sr_has_the_size_and_the_operations_of_the_paper():
    found = complexity(METHODS["d3sr"])
    assert found.parameters == 965_866_283
    assert found.parameters == pytest.approx(966.3e6, rel=5e-4)
    assert round(found.macs("image").layers / 1e9) == 2132
    (discriminator,) = found.discriminators
    heads = 1280 * 256 + 256 + 256 + 1
    assert discriminator.parameters == 1_243_367_040 + 23_225_920 + heads
    assert discriminator.trained == 23_225_920 + heads


def test_untrained_the_step_is_the_priors_own_from_the_photos_latent(photo):
    restorer, prior = D3SR.build("tiny"), tiny_prior()
    condition = prior.embed("")
    encoded = restorer.encode_lq(LqImage.of(photo[..., :16, :16], (64, 64), 16), None, NOISE)
    assert torch.equal(restorer.start(encoded, 399, NOISE), encoded.latent)
    noise = prior.unet(encoded.latent, 399, condition, return_dict=False)[0]
    root = prior.schedule.signal(399)
    expected = (encoded.latent - (1 - root**2).sqrt().float() * noise) / root.float()
    torch.testing.assert_close(clean(restorer, photo), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("generator", [D3SR, OSEDIFF, HYPIR], ids=["d3sr", "osediff", "hypir"])
def test_the_prior_stays_and_fused_parts_restore_the_same(photo, generator):
    before = module_sha256(tiny_prior().modules)
    restorer = stirred(generator.build("tiny"))
    attached = clean(restorer, photo)
    assert not torch.allclose(attached, clean(generator.build("tiny"), photo), atol=1e-2)
    assert module_sha256(restorer.prior.modules) == before
    names = {name: set(part.state_dict()) for name, part in restorer.parts.modules.items()}
    assert restorer.parts.fuse is not None
    for _ in range(2):
        restorer.parts.fuse()
        torch.testing.assert_close(clean(restorer, photo), attached, atol=1e-4, rtol=1e-3)
    assert module_sha256(restorer.prior.modules) == before
    assert {name: set(part.state_dict()) for name, part in restorer.parts.modules.items()} == names
    assert not any("lora" in name for name in restorer.prior.unet.state_dict())


def test_fused_weights_go_where_the_parts_go():
    restorer = D3SR.build("tiny")
    assert restorer.parts.fuse is not None
    restorer.parts.fuse()
    restorer.parts.modules.double()
    assert restorer.prior.unet.conv_in.weight.dtype == torch.float64
    assert restorer.prior.modules.get_parameter("unet.conv_in.weight").dtype == torch.float32


def test_a_twin_has_the_same_tensors_and_modules_of_its_own():
    unet = tiny_prior().unet
    other = share_weights(unet)
    assert all(one is two for one, two in zip(unet.parameters(), other.parameters(), strict=True))
    other.conv_in = torch.nn.Conv2d(1, 1, 1)
    assert unet.conv_in is not other.conv_in


class Mute:
    """A text encoder that must not be asked."""

    vocabulary = None

    def __call__(self, prompts: Sequence[str]) -> torch.Tensor:
        raise AssertionError(f"asked for {prompts}")


def test_a_learned_prompt_needs_no_text_encoder(photo):
    restorer = D3SR.build("tiny")
    clean(replace(restorer, prior=replace(restorer.prior, text=Mute())), photo)
    assert "prompt" not in OSEDIFF.build("tiny").parts.modules


def test_the_discriminator_is_made_of_the_stock_unet_not_of_the_adapted_one():
    restorer = stirred(D3SR.build("tiny"))
    unet = discriminator_unet(restorer.prior, "prior")
    assert unet.state_dict().keys() == tiny_prior().unet.state_dict().keys()
    discriminator = NoisedDiscriminator(source="prior")(restorer).each[0].network
    assert isinstance(discriminator, DiffusionDiscriminator)
    learning = {name for name, parameter in discriminator.named_parameters() if parameter.requires_grad}
    assert learning
    assert all("lora_" in name or name.startswith("heads.") for name in learning)


def test_discriminators_of_both_sizes_are_rows_of_one_table():
    rows = ABLATIONS["d3sr-discriminator-size"]
    sources = {name: row.trained({}).discriminator for name, row in rows.items()}
    assert sources == {"SD 2.1": NoisedDiscriminator(source="prior"), "SDXL": NoisedDiscriminator(source="sdxl-base")}
    assert ABLATIONS["d3sr-discriminator"]["no discriminator"].trained({}).discriminator is None
