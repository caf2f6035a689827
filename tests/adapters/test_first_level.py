"""A UNet's first level alone: what it predicts beside the whole one, and that nothing is shared."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from sdsr.adapters.first_level import first_level
from sdsr.prior.small import TOKEN_WIDTH, small_unet


@pytest.fixture
def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    unet = small_unet(4, widths=(32, 32))
    for parameter in unet.parameters():
        if parameter.ndim == 1:  # as initialized, a norm's biases are zero
            nn.init.normal_(parameter, std=0.3)
    return unet.eval()


def nothing_from_below(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same, with zeros for what comes from below."""

    def zeros(_: nn.Module, __: object, made: Any) -> torch.Tensor:
        return torch.zeros_like(made)

    copied = deepcopy(unet)
    copied.up_blocks[0].register_forward_hook(zeros)
    return copied


def joining(unet: UNet2DConditionModel) -> ResnetBlock2D:
    """The block that is given what comes from below."""
    blocks: Any = unet.up_blocks[-1]
    return blocks.resnets[0]


@torch.no_grad()
def predicted(unet: UNet2DConditionModel, side: int = 32) -> torch.Tensor:
    torch.manual_seed(1)
    tokens = torch.randn(1, 4, TOKEN_WIDTH)
    return unet(torch.randn(1, 4, side, side), 99, encoder_hidden_states=tokens, return_dict=False)[0]


def test_it_predicts_what_the_whole_does_without_what_is_below(unet):
    nn.init.zeros_(joining(unet).norm1.bias)  # zeros then stay zeros
    expected = predicted(nothing_from_below(unet))
    torch.testing.assert_close(predicted(first_level(unet)), expected, atol=1e-5, rtol=1e-5)


def test_it_has_weights_of_its_own_and_hears_no_prompt(unet):
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    one = first_level(unet)
    assert not any("attn" in name for name in one.state_dict())
    assert sum(each.numel() for each in one.parameters()) < sum(each.numel() for each in unet.parameters()) / 2
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())


def test_every_weight_learns(unet):
    one = first_level(unet)
    made = one(torch.randn(1, 4, 16, 16), 99, encoder_hidden_states=torch.randn(1, 4, TOKEN_WIDTH), return_dict=False)[
        0
    ]
    made.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in one.parameters())


def test_levels_of_other_widths_are_refused():
    with pytest.raises(AssertionError, match="as wide as the level itself"):
        first_level(small_unet(4, widths=(32, 64)))
