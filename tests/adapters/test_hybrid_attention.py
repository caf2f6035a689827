"""Hybrid attention: recorded tensors, sizes, attach and detach as inverses, checkpointing, other maps, gradients."""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, Transformer2DModel, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor, nn

from sdsr.adapters.control import latent_control, residuals
from sdsr.adapters.hybrid_attention import HybridAttention, HybridSettings, PositionTable, TransposedAttention
from sdsr.adapters.image_prompt import ImagePrompt
from sdsr.prior.condition import IMAGE_TOKENS, Condition
from sdsr.prior.small import small_unet

GOLDEN = Path(__file__).parents[1] / "golden" / "consissr_attention"
NATIVE = HybridSettings(side_cells=8)
SD21 = {
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
    "sample_size": 64,
}


def unet(seed: int = 0) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    return small_unet(4, widths=(32, 32)).eval()


def control() -> ControlNetModel:
    network = unet()
    return stirred(latent_control(network))


def inputs(*, size: tuple[int, int] = (8, 8), tokens: int = 1, batch: int = 2) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(1)
    shapes = {"noisy": (batch, 4, *size), "hint": (batch, 4, *size), "prompt": (1, 5, 128), "tokens": (1, tokens, 128)}
    return {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}


def predicted(network: nn.Module, given: dict[str, Tensor], *, told: bool = True) -> Tensor:
    """What a UNet or ControlNet says at time 399, as one vector."""
    times = torch.full((len(given["noisy"]),), 399)
    prompt = given["prompt"].expand(len(given["noisy"]), -1, -1)
    attention = {IMAGE_TOKENS: given["tokens"]} if told else None
    if isinstance(network, ControlNetModel):
        condition = Condition(prompt=given["prompt"], tokens=given["tokens"] if told else None)
        skips, bottleneck = residuals(network, given["noisy"], times, condition, given["hint"])
        return torch.cat([tensor.flatten() for tensor in (*skips, bottleneck)])
    return network(given["noisy"], times, prompt, cross_attention_kwargs=attention, return_dict=False)[0].flatten()


def stirred(module: Any) -> Any:
    """The module with random weights, also where it began at zero."""
    rng = torch.Generator().manual_seed(2)
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng)
    return module


def count(module: nn.Module, part: str) -> int:
    return sum(parameter.numel() for name, parameter in module.named_parameters() if part in name)


def test_one_transformer_as_published():
    recorded, weights = load_file(GOLDEN / "io.safetensors"), load_file(GOLDEN / "weights.safetensors")
    network = Transformer2DModel(
        num_attention_heads=4, attention_head_dim=16, in_channels=64, cross_attention_dim=48, use_linear_projection=True
    ).eval()
    hybrid = HybridAttention(network, HybridSettings(side_cells=16, image="separate"))
    names = set(network.state_dict())
    assert names | set(hybrid.state_dict()) == set(weights)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items() if name in names})
    hybrid.load_state_dict({name: tensor.float() for name, tensor in weights.items() if name not in names})
    hybrid.attach(network)
    attention = {IMAGE_TOKENS: recorded["image_context"]}
    context = recorded["text_context"]
    output = network(recorded["x"], context, cross_attention_kwargs=attention, return_dict=False)[0]
    torch.testing.assert_close(output, recorded["output"], rtol=0, atol=5e-5)


def test_sizes_on_stable_diffusion_2_1():
    with torch.device("meta"):
        network = UNet2DConditionModel(**SD21)
        hybrid = HybridAttention(network, HybridSettings(image="separate"))
        control = HybridAttention(latent_control(network), HybridSettings())
    assert len(hybrid.state_dict()) == 176
    parts = {"position_emb": 1_724_416, "attnT": 49_911_040, "normT": 24_960, "to_out_ip": 66_560}
    assert {part: count(hybrid, part) for part in parts} == parts
    assert count(hybrid, "to_k_ip") + count(hybrid, "to_v_ip") == 25_559_040
    parts = {"position_emb": 692_224, "attnT": 23_918_080, "normT": 11_520, "to_out_ip": 29_120}
    assert {part: count(control, part) for part in parts} == parts
    assert not any("_k_ip" in name or "_v_ip" in name for name in control.state_dict())
    assert all(parameter.requires_grad for parameter in control.parameters())


@pytest.mark.parametrize("image", ["none", "shared", "separate"])
@pytest.mark.parametrize("controlled", [False, True])
def test_attach_adds_nothing_at_first_and_detach_restores_bit_for_bit(image, controlled: bool):
    network = control() if controlled else unet()
    given, modules = inputs(), dict(network.named_modules())
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    hybrid = HybridAttention(network, HybridSettings(side_cells=8, image=image))
    assert dict(network.named_modules()) == modules
    expected = predicted(network, given, told=False).detach()
    hybrid.attach(network)
    torch.testing.assert_close(predicted(network, given), expected, rtol=0, atol=0)
    assert network.state_dict().keys() == weights.keys()
    optimizer = torch.optim.SGD(hybrid.parameters(), lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        predicted(network, given).square().mean().backward()
        optimizer.step()
    assert (predicted(network, given) - expected).abs().max() > 1e-3
    hybrid.detach(network)
    assert dict(network.named_modules()) == modules
    assert not any(module._forward_pre_hooks for module in modules.values())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())
    torch.testing.assert_close(predicted(network, given, told=False), expected, rtol=0, atol=0)


def test_attaching_twice_or_to_another_network_is_refused():
    network = unet()
    hybrid = HybridAttention(network, NATIVE)
    with pytest.raises(AssertionError, match="another network's"):
        hybrid.attach(unet())
    with pytest.raises(AssertionError, match="not attached"):
        hybrid.detach(network)
    hybrid.attach(network)
    with pytest.raises(AssertionError, match="already attached"):
        hybrid.attach(network)
    with pytest.raises(AssertionError, match="another adapter"):
        HybridAttention(network, NATIVE)


def test_state_goes_from_one_to_another():
    first, second = unet(), unet()
    source, target = stirred(HybridAttention(first, NATIVE)), HybridAttention(second, NATIVE)
    target.load_state_dict(source.state_dict())
    source.attach(first)
    target.attach(second)
    torch.testing.assert_close(predicted(first, inputs()), predicted(second, inputs()), rtol=0, atol=0)


@pytest.mark.parametrize("controlled", [False, True])
def test_gradients_are_those_of_a_network_without_checkpointing(controlled: bool):
    network = control() if controlled else unet()
    network.train()
    hybrid = stirred(HybridAttention(network, NATIVE))
    hybrid.attach(network)
    gradients = []
    for checkpointed in (False, True):
        network.enable_gradient_checkpointing() if checkpointed else network.disable_gradient_checkpointing()
        given = inputs(size=(8, 6))
        given["tokens"].requires_grad_()
        learning = [*hybrid.parameters(), given["tokens"]]
        gradients.append(torch.autograd.grad(predicted(network, given).square().mean(), learning))
    for plain, checkpointed in zip(*gradients, strict=True):
        assert plain.any()
        torch.testing.assert_close(checkpointed, plain, rtol=1e-5, atol=1e-5 * float(plain.abs().max()))


def test_image_tokens_matter_and_silence_is_no_token():
    network = unet()
    hybrid = stirred(HybridAttention(network, NATIVE))
    hybrid.attach(network)
    given = inputs(tokens=3)
    silent, told = predicted(network, given, told=False), predicted(network, given)
    assert (told - silent).abs().max() > 1e-3
    given["tokens"] = given["tokens"].flip(1)
    torch.testing.assert_close(predicted(network, given), told)


def test_an_image_branch_without_linear_layer_adds_the_attention_itself():
    network = unet()
    plain, direct = predicted(network, inputs(), told=False), HybridSettings(side_cells=8, zero_linear=False)
    hybrid = HybridAttention(network, direct)
    assert not any("_ip" in name for name in hybrid.state_dict())
    hybrid.attach(network)
    assert (predicted(network, inputs()) - plain).abs().max() > 1e-3


def test_position_table_is_exact_at_its_size_and_a_grid_at_others():
    table = PositionTable(8, 2)
    down, right = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    table.position_emb.data = torch.stack((down, right), dim=-1).flatten(0, 1)
    assert torch.equal(table((8, 8)), table.position_emb)
    resized = table((16, 24)).unflatten(0, (16, 24))
    expected = torch.stack(
        torch.meshgrid((torch.arange(16) + 0.5) / 2 - 0.5, (torch.arange(24) + 0.5) / 3 - 0.5, indexing="ij"), dim=-1
    )
    torch.testing.assert_close(resized[6:-6, 9:-9], expected[6:-6, 9:-9])
    assert torch.autograd.grad(table((4, 6)).sum(), table.position_emb)[0].all()


def test_transposed_attention_mixes_the_channels_of_a_head_on_any_map(rng: torch.Generator):
    attention, tokens = TransposedAttention(6, 2), torch.randn(1, 20, 6, generator=rng)
    attention.to_out = nn.Sequential(nn.Identity())
    image = tokens[0].T.unflatten(1, (5, 4))
    query, key, value = attention.qkv_dwconv(attention.to_qkv(image[None]))[0].flatten(1).chunk(3)
    expected = []
    for head in (slice(0, 3), slice(3, 6)):
        weights = torch.einsum("in,jn->ij", query[head], key[head]) / 20**0.5
        expected.append(weights.softmax(dim=1) @ value[head])
    torch.testing.assert_close(attention(tokens, (5, 4))[0].T, torch.cat(expected))


def test_computes_beside_a_half_precision_network():
    network = unet()
    hybrid = stirred(HybridAttention(network, HybridSettings(side_cells=8, image="separate")))
    hybrid.attach(network)
    expected = predicted(network, inputs(size=(8, 6)))
    for name, parameter in network.named_parameters():
        parameter.data = parameter.data if "norm" in name else parameter.data.bfloat16()
    assert {parameter.dtype for parameter in hybrid.parameters()} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        half = predicted(network, inputs(size=(8, 6)))
    assert (half.float() - expected).norm() < 0.05 * expected.norm()


class Pair(nn.Module):
    """ConsisSR in small: UNet and ControlNet with additions, an image prompt; frozen what it freezes."""

    def __init__(self, *, zero: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.unet = unet().requires_grad_(False)
        self.controlnet = latent_control(self.unet)
        for name, parameter in self.controlnet.named_parameters():
            parameter.requires_grad_("attn2" not in name and "norm2" not in name)
        self.hybrid = HybridAttention(self.unet, NATIVE)
        self.control_hybrid = HybridAttention(self.controlnet, NATIVE)
        self.prompt = ImagePrompt(16, 128, zero=zero)
        self.hybrid.attach(self.unet)
        self.control_hybrid.attach(self.controlnet)

    def forward(self, given: dict[str, Tensor]) -> Tensor:
        tokens = self.prompt(given["embedding"])
        told = Condition(prompt=given["prompt"], tokens=tokens)
        skips, bottleneck = residuals(self.controlnet, given["noisy"], 399, told, given["hint"])
        prompt = given["prompt"].expand(len(given["noisy"]), -1, -1)
        predicted = self.unet(
            given["noisy"],
            399,
            prompt,
            cross_attention_kwargs=told.attention,
            down_block_additional_residuals=skips,
            mid_block_additional_residual=bottleneck,
        ).sample
        return (predicted - given["noise"]).square().mean()


def trained(*, zero: bool, steps: int) -> tuple[Pair, list[set[str]]]:
    """A pair after some steps, and by step the names of the learning parameters whose gradient was zero."""
    pair, given = Pair(zero=zero), inputs()
    rng = torch.Generator().manual_seed(3)
    given |= {"embedding": torch.randn(2, 16, generator=rng), "noise": torch.randn(2, 4, 8, 8, generator=rng)}
    learning = {name: parameter for name, parameter in pair.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.AdamW(learning.values(), lr=1e-3)
    still = []
    for _ in range(steps):
        optimizer.zero_grad()
        pair(given).backward()
        still.append({name for name, value in learning.items() if value.grad is None or not value.grad.any()})
        optimizer.step()
    assert all(value.grad is None for name, value in pair.named_parameters() if name not in learning)
    return pair, still


def test_every_part_learns_once_the_zeros_before_it_have_moved():
    _, still = trained(zero=False, steps=3)
    in_unet = {name for name in still[1] if name.startswith(("hybrid.", "prompt."))}
    assert not in_unet
    assert not still[2]


def test_two_layers_at_zero_in_series_never_learn():
    pair, still = trained(zero=True, steps=4)
    dead = {name for name in chain(*still[3:]) if "to_out_ip.0.weight" in name or name.startswith("prompt.layers")}
    assert "prompt.layers.6.weight" in dead
    assert not pair.prompt.layers[6].weight.any()
    for hybrid in (pair.hybrid, pair.control_hybrid):
        for name, parameter in hybrid.named_parameters():
            if "to_out_ip" in name:
                assert bool(parameter.any()) == name.endswith("bias")
