"""LDM's names: the converter that comes with diffusers maps them back, and to the same tensors."""

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from torch import Tensor, nn

from sdsr.adapters.control import latent_control
from sdsr.checkpoints.ldm import as_linear, autoencoder_names, unet_names


def unet(layers: int) -> UNet2DConditionModel:
    """Four levels, the last without attention, and shortcuts wherever widths differ."""
    return UNet2DConditionModel(
        block_out_channels=(32, 64, 96, 96),
        layers_per_block=layers,
        cross_attention_dim=24,
        attention_head_dim=(2, 4, 4, 4),
        use_linear_projection=True,
    )


def numbered(network: nn.Module) -> dict[str, Tensor]:
    """The network's names, each with a tensor that no other has."""
    return {name: torch.full_like(tensor, index) for index, (name, tensor) in enumerate(network.state_dict().items())}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("layers", [1, 2])
def test_unet(layers: int):
    network = unet(layers)
    state, config = numbered(network), dict(network.config)
    names = unet_names(state, layers=layers)
    assert len(set(names.values())) == len(state)
    published = {f"model.diffusion_model.{names[own]}": tensor for own, tensor in state.items()}
    assert_same(single_file_utils.convert_ldm_unet_checkpoint(published, config), state)


@pytest.mark.parametrize("layers", [1, 2])
def test_controlnet(layers: int):
    network = latent_control(unet(layers))
    state, config = numbered(network), dict(network.config)
    names = unet_names(state, layers=layers)
    assert len(set(names.values())) == len(state)
    published = {f"control_model.{names[own]}": tensor for own, tensor in state.items()}
    assert_same(single_file_utils.convert_controlnet_checkpoint(published, config), state)


@pytest.mark.parametrize("levels", [2, 4])
def test_autoencoder(levels: int):
    network = AutoencoderKL(
        block_out_channels=(32, 64, 96, 96)[:levels],
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=2,
    )
    state, config = numbered(network), dict(network.config)
    names = autoencoder_names(state, levels=levels)
    assert len(set(names.values())) == len(state)
    published = {f"first_stage_model.{names[own]}": _as_convolution(own, tensor) for own, tensor in state.items()}
    assert_same(single_file_utils.convert_ldm_vae_checkpoint(dict(published), config), state)
    assert_same(
        {own: as_linear(theirs, published[f"first_stage_model.{theirs}"]) for own, theirs in names.items()}, state
    )


def _as_convolution(name: str, tensor: Tensor) -> Tensor:
    return tensor[..., None, None] if ".attentions." in name and tensor.ndim == 2 else tensor


def test_what_others_put_into_a_block_keeps_its_name():
    names: Any = unet_names(["up_blocks.0.resnets.1.spade.mlp.0.weight", "down_blocks.1.attentions.0.extra.weight"])
    assert names == {
        "up_blocks.0.resnets.1.spade.mlp.0.weight": "output_blocks.1.0.spade.mlp.0.weight",
        "down_blocks.1.attentions.0.extra.weight": "input_blocks.4.1.extra.weight",
    }
