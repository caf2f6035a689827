"""LoRA: published size, attach and detach as inverses, fusing, state."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from sdsr.adapters.lora import Lora

SD21 = {
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
    "sample_size": 64,
}


def tiny() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        sample_size=16,
    ).eval()


def run(unet: UNet2DConditionModel) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    sample, context = torch.randn(2, 4, 16, 16, generator=rng), torch.randn(2, 3, 32, generator=rng)
    return unet(sample, torch.tensor([399, 20]), context).sample


def stirred(lora: Lora) -> Lora:
    torch.manual_seed(2)
    for parameter in lora.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return lora


def test_size_on_the_unet_of_stable_diffusion_2_1():
    with torch.device("meta"):
        lora = Lora(UNet2DConditionModel(**SD21))
    assert sum(parameter.numel() for parameter in lora.parameters()) == 16_222_848
    assert len(lora.state_dict()) == 2 * 258


def test_attach_adds_nothing_at_first_and_detach_restores_bit_for_bit():
    unet = tiny()
    modules, expected = dict(unet.named_modules()), run(unet).detach()
    weights = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    lora = Lora(unet, rank=4, alpha=4)
    assert dict(unet.named_modules()) == modules
    assert all(parameter.requires_grad for parameter in unet.parameters())
    assert not hasattr(unet, "peft_config")
    lora.attach(unet)
    torch.testing.assert_close(run(unet), expected, rtol=0, atol=0)
    stirred(lora)
    assert (run(unet) - expected).abs().max() > 1e-3
    lora.detach(unet)
    assert dict(unet.named_modules()) == modules
    assert unet.state_dict().keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in unet.state_dict().items())
    torch.testing.assert_close(run(unet), expected, rtol=0, atol=0)


def test_attaching_twice_or_to_another_unet_is_refused():
    unet = tiny()
    lora = Lora(unet, rank=2, alpha=2)
    with pytest.raises(AssertionError, match="another UNet's"):
        lora.attach(tiny())
    lora.attach(unet)
    with pytest.raises(AssertionError, match="already attached"):
        lora.attach(unet)


def test_fused_it_computes_the_same_and_the_layers_beside_stay():
    unet = tiny()
    layers = {name: layer.weight for name, layer in unet.named_modules() if hasattr(layer, "weight")}
    weights = {name: weight.clone() for name, weight in layers.items() if weight is not None}
    lora = stirred(Lora(unet, rank=4, alpha=8))
    lora.attach(unet)
    expected = run(unet).detach()
    lora.fuse(unet)
    torch.testing.assert_close(run(unet).detach(), expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(layers[name], weight) for name, weight in weights.items())


def test_only_the_updates_learn_and_all_of_them_do():
    unet = tiny().requires_grad_(False)
    lora = stirred(Lora(unet, rank=4, alpha=4))
    lora.attach(unet)
    run(unet).square().mean().backward()
    assert all(parameter.grad is not None for parameter in lora.parameters())
    updates = {id(parameter) for parameter in lora.parameters()}
    assert all(parameter.grad is None for parameter in unet.parameters() if id(parameter) not in updates)


def test_state_goes_from_one_to_another():
    first, second = tiny(), tiny()
    source, target = stirred(Lora(first, rank=4, alpha=4)), Lora(second, rank=4, alpha=4)
    state = source.state_dict()
    assert "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight" in state
    assert state["conv_in.lora_B.weight"].shape == (32, 4, 1, 1)
    target.load_state_dict(state)
    source.attach(first)
    target.attach(second)
    torch.testing.assert_close(run(first), run(second), rtol=0, atol=0)


def test_updates_of_a_half_precision_unet_stay_in_float32():
    unet = tiny().to(torch.bfloat16)
    lora = stirred(Lora(unet, rank=2, alpha=2))
    assert {parameter.dtype for parameter in lora.parameters()} == {torch.float32}
    lora.attach(unet)
    output = unet(torch.randn(1, 4, 16, 16).bfloat16(), torch.tensor([5]), torch.randn(1, 3, 32).bfloat16()).sample
    assert output.dtype == torch.bfloat16
