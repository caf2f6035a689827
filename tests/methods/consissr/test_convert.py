"""ConsisSR's published names: recorded tensors through the conversion, all names of the full model accounted for."""

from functools import cache
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from sdsr.adapters.control import latent_control, residuals
from sdsr.adapters.hybrid_attention import HybridAttention
from sdsr.adapters.image_prompt import ImagePrompt
from sdsr.checkpoints.converted import Converted
from sdsr.methods.consissr.convert import PUBLISHED, convert, part_names
from sdsr.prior.condition import IMAGE_TOKENS, Condition
from sdsr.prior.shapes import AUTOENCODER, UNET

GOLDEN = Path(__file__).parents[2] / "golden"
NARROW = {
    "block_out_channels": (32, 32, 32, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 4,
    "cross_attention_dim": 24,
    "use_linear_projection": True,
    "sample_size": 64,
}
Controls = tuple[tuple[Tensor, ...], Tensor]

names_by_part = cache(part_names)


@cache
def recorded() -> Converted:
    """The two recorded networks, as one checkpoint would hold them, converted."""
    networks = {"control_model.": "consissr_controlnet", "model.diffusion_model.": "consissr_unet_controlnet"}
    state = {
        prefix + name: tensor.float()
        for prefix, folder in networks.items()
        for name, tensor in load_file(GOLDEN / folder / "weights.safetensors").items()
    }
    return convert(state, layout=NARROW)


def test_recorded_networks_are_converted_without_rest():
    assert recorded().parts.keys() >= {"unet", "hybrid", "controlnet", "control_hybrid"}
    assert not recorded().unknown
    assert not recorded().dropped
    assert all(name.startswith("cond_stage_model.") for name in recorded().missing)


def predicted(unet: UNet2DConditionModel, given: dict[str, Tensor], controls: Controls | None) -> Tensor:
    """What a UNet, with what a ControlNet told it, says of one of the recorded inputs."""
    skips, bottleneck = controls or (None, None)
    return unet(
        given["x"],
        given["timesteps"],
        given["text_context"],
        cross_attention_kwargs={IMAGE_TOKENS: given["image_context"]},
        down_block_additional_residuals=skips,
        mid_block_additional_residual=bottleneck,
    ).sample


@torch.no_grad()
def test_unet_and_controlnet_as_published():
    given = load_file(GOLDEN / "consissr_controlnet" / "io.safetensors")
    expected = load_file(GOLDEN / "consissr_unet_controlnet" / "io.safetensors")
    unet = UNet2DConditionModel(**NARROW).eval()
    controlnet = latent_control(unet).eval()
    hybrid, control_hybrid = HybridAttention(unet, PUBLISHED), HybridAttention(controlnet, PUBLISHED)
    modules = {"unet": unet, "controlnet": controlnet, "hybrid": hybrid, "control_hybrid": control_hybrid}
    for part, module in modules.items():
        module.load_state_dict(recorded().parts[part])
    hybrid.attach(unet)
    control_hybrid.attach(controlnet)

    condition = Condition(prompt=given["text_context"], tokens=given["image_context"])
    skips, bottleneck = residuals(controlnet, given["x"], given["timesteps"].long(), condition, given["hint"])
    names = sorted(name for name in given if name.startswith("control_"))
    for name, control in zip(names, (*skips, bottleneck), strict=True):
        stride = int(name.partition("_stride")[2] or 1)
        torch.testing.assert_close(control[..., ::stride, ::stride], given[name], rtol=0, atol=2e-4)

    first = {name: tensor[:1] for name, tensor in given.items()}
    second = {name: tensor[1:] for name, tensor in given.items()}
    alone, condition = (
        predicted(unet, first, None),
        predicted(unet, second, (tuple(skip[1:] for skip in skips), bottleneck[1:])),
    )
    torch.testing.assert_close(alone, expected["eps_no_control_item0"], rtol=0, atol=5e-5)
    torch.testing.assert_close(condition, expected["eps"][1:], rtol=0, atol=5e-5)


@cache
def full() -> dict[str, Tensor]:
    """The published names without CLIP's towers, with tensors that take no memory and one number each."""
    names = [theirs for table in names_by_part().values() for theirs in table.values()]
    return {name: torch.full((), float(index)) for index, name in enumerate(names)}


def test_full_size_is_complete():
    assert {part: len(names) for part, names in names_by_part().items()} == {
        "unet": 686,
        "hybrid": 176,
        "controlnet": 340,
        "control_hybrid": 77,
        "autoencoder": 248,
        "condition_autoencoder": 108,
        "image_prompt": 8,
    }
    assert len(full()) == 686 + 176 + 340 + 77 + 248 + 108 + 8
    converted = convert(full())
    assert not converted.unknown
    assert all(name.startswith("cond_stage_model.model.visual.") for name in converted.missing)
    for part, names in names_by_part().items():
        assert all(torch.equal(converted.parts[part][own], full()[theirs]) for own, theirs in names.items())


def test_what_is_unknown_dropped_or_missing_is_told():
    gone = "control_model.zero_convs.3.0.weight"
    state = {name: tensor for name, tensor in full().items() if name != gone}
    state |= dict.fromkeys(("posterior_mean_coef1", "cond_stage_model.model.v_fix.proj", "model.extra"), torch.zeros(1))
    converted = convert(state)
    assert converted.dropped == ("posterior_mean_coef1", "cond_stage_model.model.v_fix.proj")
    assert converted.unknown == ("model.extra",)
    assert gone in converted.missing
    assert "controlnet_down_blocks.3.weight" not in converted.parts["controlnet"]


def test_frozen_parts_may_be_absent_as_a_whole_but_not_in_part():
    learned = {
        name: tensor for name, tensor in full().items() if not name.startswith(("first_stage_model.", "cond_encoder."))
    }
    converted = convert(learned)
    assert "autoencoder" not in converted.parts
    assert "text" not in converted.parts
    assert not [name for name in converted.missing if not name.startswith("cond_stage_model.model.visual.")]
    one = "first_stage_model.quant_conv.weight"
    assert "first_stage_model.quant_conv.bias" in convert(learned | {one: full()[one]}).missing


def test_full_listing_of_the_published_model(consissr_shapes: dict[str, torch.Size]):
    state = {name: torch.empty(shape, device="meta") for name, shape in consissr_shapes.items()}
    converted = convert(state)
    assert not converted.unknown
    assert not converted.missing
    assert len(converted.dropped) == 13 + 14  # buffers; the text tower's last block and what follows it
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        controlnet = latent_control(unet)
        modules = {
            "unet": unet,
            "hybrid": HybridAttention(unet, PUBLISHED),
            "controlnet": controlnet,
            "control_hybrid": HybridAttention(controlnet, PUBLISHED),
            "image_prompt": ImagePrompt(1024, 1024),
            "autoencoder": AutoencoderKL(**AUTOENCODER),
        }
    for part, module in modules.items():
        shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
        assert {name: tensor.shape for name, tensor in converted.parts[part].items()} == shapes
