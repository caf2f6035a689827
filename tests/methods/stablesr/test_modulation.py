"""Modulation: published size and block, attach and detach, gradient checkpointing, what is refused."""

from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from safetensors.torch import load_file
from torch.utils.checkpoint import checkpoint

from sdsr.checkpoints.ldm import unet_names
from sdsr.errors import ModelError
from sdsr.methods.stablesr.modulation import Modulation, ScaleShift
from sdsr.prior.condition import SFT_FEATURES, Condition
from sdsr.prior.prior import Prior
from sdsr.prior.tiny import tiny_prior

GOLDEN = Path(__file__).parents[2] / "golden/stablesr_sft_block"
SD21 = {
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
SPADE = {"param_free_norm": "norm", "mlp_shared.0": "shared", "mlp_gamma": "scale", "mlp_beta": "shift"}


def sft_features(
    seed: int, size: tuple[int, int] = (8, 6), factors: tuple[int, ...] = (1, 2)
) -> dict[int, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    shapes = {factor: (2, 16, *(-(-side // factor) for side in size)) for factor in factors}
    return {factor: torch.randn(shape, generator=rng) for factor, shape in shapes.items()}


def modulating(prior: Prior, seed: int | None, **kwargs) -> Condition:
    return Condition(prompt=prior.embed(""), sft_features=None if seed is None else sft_features(seed, **kwargs))


def predict(prior: Prior, condition: Condition, size: tuple[int, int] = (8, 6)) -> torch.Tensor:
    noisy = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(9))
    return prior.predict(noisy, torch.tensor([3, 700]), condition)


def modulated(seed: int = 0) -> tuple[Prior, Modulation]:
    prior = tiny_prior()
    torch.manual_seed(seed)
    modulation = Modulation(prior.unet, map_channels=16, hidden=8)
    modulation.attach(prior.unet)
    return prior, modulation


def test_size_on_the_unet_of_stable_diffusion_2_1():
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD21)
        modulation = Modulation(unet)
    count = sum(parameter.numel() for parameter in modulation.parameters())
    assert count == 53_020_160
    assert count + sum(parameter.numel() for parameter in unet.parameters()) == 918_930_884
    assert len(modulation.state_dict()) == 176
    layers = {path: layer for path, layer in modulation.named_modules() if isinstance(layer, ScaleShift)}
    assert len(layers) == 22
    assert all(isinstance(unet.get_submodule(path), ResnetBlock2D) for path in layers)
    assert [layers[f"up_blocks.{block}.resnets.0"].factor for block in range(4)] == [8, 4, 2, 1]
    assert [layers[f"down_blocks.{block}.resnets.1"].factor for block in range(4)] == [1, 2, 4, 8]
    assert layers["mid_block.resnets.1"].factor == 8


def test_the_published_block():
    published, io = load_file(GOLDEN / "weights.safetensors"), load_file(GOLDEN / "io.safetensors")
    block = ResnetBlock2D(in_channels=32, out_channels=64, temb_channels=128, eps=1e-5)
    layer = ScaleShift(block, factor=1, map_channels=32, hidden=128)
    names = unet_names(f"mid_block.resnets.0.{name}" for name in block.state_dict())
    inner = {ours.split(".", 3)[3]: theirs.removeprefix("middle_block.0.") for ours, theirs in names.items()}
    block.load_state_dict({name: published[theirs].float() for name, theirs in inner.items()})
    layer.load_state_dict(
        {
            f"{ours}.{kind}": published[f"spade.{theirs}.{kind}"].float()
            for theirs, ours in SPADE.items()
            for kind in ("weight", "bias")
        }
    )
    block.conv2.register_forward_hook(lambda module, args, features: layer(features, io["struct_cond"]))
    with torch.no_grad():
        torch.testing.assert_close(block(io["x"], io["emb"]), io["output"], rtol=0, atol=1e-4)


def test_without_maps_and_after_detach_the_unet_is_the_stock_one_bit_for_bit():
    prior = tiny_prior()
    stock, hooks = predict(prior, modulating(prior, None)), count_hooks(prior.unet)
    names = list(prior.unet.state_dict())
    modulation = Modulation(prior.unet, map_channels=16, hidden=8)
    modulation.attach(prior.unet)
    assert list(prior.unet.state_dict()) == names
    assert torch.equal(predict(prior, modulating(prior, None)), stock)
    assert (predict(prior, modulating(prior, 1)) - stock).abs().max() > 1e-2
    modulation.detach(prior.unet)
    assert torch.equal(predict(prior, modulating(prior, 1)), stock)
    assert count_hooks(prior.unet) == hooks
    assert SFT_FEATURES.get() is None


def count_hooks(unet: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in unet.modules())


def test_attaching_or_detaching_twice_is_refused():
    prior, modulation = modulated()
    with pytest.raises(AssertionError, match="already attached"):
        modulation.attach(prior.unet)
    modulation.detach(prior.unet)
    with pytest.raises(AssertionError, match="not attached"):
        modulation.detach(prior.unet)


def test_every_block_is_modulated_at_odd_sizes():
    prior, modulation = modulated()
    prior.unet.requires_grad_(False)
    condition = modulating(prior, 1, size=(7, 11))
    predict(prior, condition, (7, 11)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in modulation.parameters())


def test_two_live_graphs_under_gradient_checkpointing_keep_their_own_maps():
    """Both predictions are made before either is differentiated, the later one first."""

    def gradients(checkpointed: bool) -> list[torch.Tensor]:
        prior, modulation = modulated()
        prior.unet.requires_grad_(False).train()
        if checkpointed:
            prior.unet.enable_gradient_checkpointing()
        first, second = modulating(prior, 1), modulating(prior, 2)
        leaves = [
            leaf.requires_grad_() for condition in (first, second) for leaf in (condition.sft_features or {}).values()
        ]
        losses = [predict(prior, condition).square().mean() for condition in (first, second)]
        losses[1].backward()
        losses[0].backward()
        return [leaf.grad for leaf in (*leaves, *modulation.parameters()) if leaf.grad is not None]

    expected, found = gradients(False), gradients(True)
    assert len(expected) == len(found) > 4
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-7)


def test_a_level_without_a_map_is_refused():
    prior, _ = modulated()
    with pytest.raises(ModelError, match=r"SFT features \(=\[1\]\) must have one for factor 2"):
        predict(prior, modulating(prior, 1, factors=(1,)))


def test_checkpointing_that_copies_the_time_embedding_is_refused():
    prior, _ = modulated()
    prior.unet.requires_grad_(False).train()
    prior.unet.enable_gradient_checkpointing(partial(checkpoint, use_reentrant=True))
    condition = modulating(prior, 1)
    for leaf in (condition.sft_features or {}).values():
        leaf.requires_grad_()
    noisy = torch.randn(2, 4, 8, 6, requires_grad=True)
    with pytest.raises(ModelError, match="not reentrant"):
        prior.predict(noisy, 3, condition).sum().backward()


def test_it_learns_on_frozen_features_in_any_layout():
    """Where it meets the first frozen block's features; without care torch ends the process here, on the CPU."""
    layer = ScaleShift(ResnetBlock2D(in_channels=32, temb_channels=None), factor=1, map_channels=16, hidden=8)
    features, guide = torch.randn(1, 32, 4, 4), torch.randn(1, 16, 4, 4)
    grads = []
    for layout in (torch.contiguous_format, torch.channels_last):
        layer.zero_grad()
        layer(features.contiguous(memory_format=layout), guide).square().mean().backward()
        grads.append([parameter.grad for parameter in layer.parameters() if parameter.grad is not None])
    assert len(grads[0]) == len(list(layer.parameters()))
    torch.testing.assert_close(grads[1], grads[0])


def test_half_precision_keeps_the_type_of_the_features():
    block = ResnetBlock2D(in_channels=32, temb_channels=None)
    layer = ScaleShift(block, factor=1, map_channels=16, hidden=8)
    features, guide = torch.randn(1, 32, 4, 4), torch.randn(1, 16, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(features.bfloat16(), guide)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), layer(features, guide), rtol=0.05, atol=0.05)
