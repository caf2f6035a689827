"""D3SR's discriminator: parity with the whole UNet, published sizes, what learns."""

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.nn.functional import softplus

from sdsr.discriminators.diffusion_unet import DiffusionDiscriminator, down_and_mid, drop_decoder, unconditional
from sdsr.prior.shapes import SDXL_UNET, UNET

TINY = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 32,
    "attention_head_dim": 8,
}
SDXL_LIKE = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 24,
}


def tiny(**settings) -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(**TINY, **settings).eval()


def count(parameters) -> int:
    return sum(parameter.numel() for parameter in parameters)


@pytest.mark.parametrize("settings", [{}, SDXL_LIKE, {"time_embedding_act_fn": "silu"}])
def test_features_are_those_of_the_whole_unet(settings):
    unet = tiny(**settings)
    recorded = []
    for block in (*unet.down_blocks, unet.mid_block):
        block.register_forward_hook(
            lambda _, __, output: recorded.append(output[0] if isinstance(output, tuple) else output)
        )
    sample, t, context = torch.randn(2, 4, 16, 16), torch.tensor([10, 900]), torch.randn(2, 3, 32)
    _, added = unconditional(unet, 2, sample)
    with torch.no_grad():
        unet(sample, t, context, added_cond_kwargs=added)
        expected, recorded = recorded, []
        features = down_and_mid(drop_decoder(unet), sample, t, context, added)
    assert len(features) == 3
    for feature, wanted in zip(features, expected, strict=True):
        torch.testing.assert_close(feature, wanted, rtol=0, atol=0)


@pytest.mark.parametrize(("config", "kept"), [(SDXL_UNET, 1_243_367_040), (UNET, 351_662_080)])
def test_size_of_the_kept_part(config, kept):
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    assert count(drop_decoder(unet).parameters()) == kept


def test_size_of_the_updates_on_sdxl():
    with torch.device("meta"):
        discriminator = DiffusionDiscriminator(UNet2DConditionModel(**SDXL_UNET))
    updates = [parameter for parameter in discriminator.unet.parameters() if parameter.requires_grad]
    assert count(updates) == 23_225_920
    assert len(updates) == 2 * 371


@pytest.mark.parametrize(("train", "learns"), [("lora", "some"), ("all", "every"), ("heads", "none")])
def test_what_learns(train, learns):
    discriminator = DiffusionDiscriminator(tiny(), train=train, heads_on=(0, 1), hidden=8, rank=4)
    noisy, t = torch.randn(2, 4, 16, 16, requires_grad=True), torch.tensor([3, 600])
    logits = discriminator(noisy, t, torch.randn(2, 3, 32))
    assert [tuple(logit.shape) for logit in logits] == [(2, 1, 8, 8), (2, 1, 8, 8), (2, 1, 8, 8)]
    sum(logit.square().mean() for logit in logits).backward()
    assert noisy.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in discriminator.heads.parameters())
    learning = [name for name, parameter in discriminator.unet.named_parameters() if parameter.grad is not None]
    if learns == "some":
        assert learning
        assert all("lora_" in name for name in learning)
    else:
        assert len(learning) == (len(list(discriminator.unet.parameters())) if learns == "every" else 0)


def test_without_context_one_zero_token_acts_as_many():
    discriminator = DiffusionDiscriminator(tiny(**SDXL_LIKE), train="heads", hidden=8)
    noisy, t = torch.randn(1, 4, 16, 16), torch.tensor([100])
    torch.testing.assert_close(discriminator(noisy, t), discriminator(noisy, t, torch.zeros(1, 77, 32)))


def test_it_learns_to_tell_two_kinds_of_latents_apart():
    discriminator = DiffusionDiscriminator(tiny(), train="lora", hidden=16, rank=4)
    optimizer = torch.optim.Adam(
        [parameter for parameter in discriminator.parameters() if parameter.requires_grad], lr=3e-3
    )
    rng, t = torch.Generator().manual_seed(0), torch.tensor([50, 50, 50, 50])
    before = copy.deepcopy(discriminator.unet.conv_in.state_dict())
    losses = []
    for _ in range(20):
        noise = torch.randn(4, 4, 8, 8, generator=rng)
        (real,), (fake,) = discriminator(noise, t), discriminator(noise + 1, t)
        loss = softplus(-real).mean() + softplus(fake).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert torch.equal(discriminator.unet.conv_in.base_layer.weight, before["base_layer.weight"])
