"""SeeSR's and AddSR's published names: recorded tensors through the conversion, all names of the full model used."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from sdsr.adapters.control import photo_control, residuals
from sdsr.adapters.image_attention import ImageAttention
from sdsr.adapters.tagger import SWIN_LARGE, SwinTagger
from sdsr.checkpoints.conversion import check_complete
from sdsr.checkpoints.converted import Converted
from sdsr.checkpoints.reading import read_checkpoint
from sdsr.cli.main import app
from sdsr.errors import ModelError
from sdsr.method_folders import read_description
from sdsr.methods.addsr.convert import RANK, convert, merged
from sdsr.methods.addsr.recipes import ADDSR_METHOD
from sdsr.methods.published import PUBLISHED
from sdsr.prior.condition import Condition
from sdsr.prior.shapes import shape_prior
from tests.folders import prior_folder

GOLDEN = Path(__file__).parents[2] / "golden"
NARROW = {
    "block_out_channels": (8, 16, 16, 16),
    "attention_head_dim": (1, 2, 4, 4),
    "norm_num_groups": 4,
    "cross_attention_dim": 20,
    "use_linear_projection": True,
    "sample_size": 16,
}
WIDTHS = (4, 8, 8, 16)
SWIN = {"image_size": 32, "window_size": 2, "embed_dim": 8, "depths": (2, 2), "num_heads": (2, 2)}
COUNTS = {"unet": (1102, 1_126_760_324), "controlnet": (522, 489_031_440)}


def listed(network: str) -> dict[str, Tensor]:
    """A published network without weights."""
    lines = (line.split("\t") for line in (GOLDEN / "keys" / f"keys_seesr_{network}.txt").read_text().splitlines())
    return {name: torch.empty([int(side) for side in shape.split("x")], device="meta") for name, shape in lines}


def published_tagger(
    rng: torch.Generator | None = None, *, swin: Mapping[str, Any] = SWIN, device: str = "cpu"
) -> dict[str, Tensor]:
    """RAM and DAPE as one folder would hold them, in the names of their own program, small."""
    state = {f"ram/model.{name}": torch.zeros(1) for name in ("tag_encoder.x", "fc.weight", "label_embed")}
    with torch.device(device):
        tagger = SwinTagger(swin=swin)
    for name, tensor in tagger.state_dict().items():
        for ours, theirs in (
            (".encoder.layers.", ".layers."),
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("embeddings.norm", "patch_embed.norm"),
            ("attention.relative_position_bias.", "attn."),
            ("attention.o_proj", "attn.proj"),
            ("layernorm_before", "norm1"),
            ("layernorm_after", "norm2"),
            ("visual_encoder.layernorm", "visual_encoder.norm"),
        ):
            name = name.replace(ours, theirs)
        if "attention.q_proj" in name:
            name, tensor = name.replace("attention.q_proj", "attn.qkv"), torch.cat([tensor] * 3)
        if "attention." not in name:
            state[f"ram/model.{name}"] = torch.randn(least(tensor.shape, device), generator=rng)
        if name.endswith("attn.qkv.weight") and device != "meta":
            width = tensor.shape[1]
            for side, shape in (("A", (2 * RANK, width)), ("B", (2 * width, RANK))):
                state[f"DAPE/params.{name.replace('weight', f'lora_{side}')}"] = torch.randn(shape, generator=rng)
            state[f"ram/model.{name.replace('qkv.weight', 'relative_position_index')}"] = torch.zeros(1)
    return state


def least(shape: torch.Size, device: str) -> list[int]:
    """The shape, with sides of at most 6 where it is one of the full size."""
    return [min(side, 6) for side in shape] if device == "meta" else list(shape)


@cache
def recorded() -> Converted:
    networks = {
        f"{network}/file/{name}": tensor.float()
        for network in ("unet", "controlnet")
        for name, tensor in load_file(GOLDEN / "seesr_unet_controlnet" / f"weights_{network}.safetensors").items()
    }
    return convert(networks | published_tagger(), layout=NARROW, widths=WIDTHS, swin=SWIN)


@pytest.mark.parametrize("case", ["t999", "tmix", "t499_scale0p7"])
@torch.no_grad()
def test_unet_and_controlnet_as_published(case):
    given = load_file(GOLDEN / "seesr_unet_controlnet" / "io.safetensors")
    unet = UNet2DConditionModel(**NARROW).eval()
    controlnet = photo_control(unet, widths=WIDTHS).eval()
    attention, control_attention = ImageAttention(unet), ImageAttention(controlnet)
    modules = {"unet": unet, "controlnet": controlnet, "attention": attention, "control_attention": control_attention}
    for part, module in modules.items():
        module.load_state_dict(recorded().parts[part])
    attention.attach(unet)
    control_attention.attach(controlnet)

    condition = Condition(prompt=given["text_context"], tokens=given["image_context"])
    t = given[f"{case}.timestep"].long().expand(2)
    scale = 0.7 if case.endswith("7") else 1.0
    skips, bottleneck = residuals(controlnet, given["latent"], t, condition, given["lr_condition"], scale=scale)
    names = sorted(name for name in given if name.startswith(f"{case}.down_residual"))
    assert len(names) == len(skips) == 12
    for mine, name in zip((*skips, bottleneck), (*names, f"{case}.mid_residual"), strict=True):
        torch.testing.assert_close(mine, given[name], atol=6e-4, rtol=0)
    for controls, name in (((skips, bottleneck), "eps"), ((None, None), "eps_without_controlnet")):
        predicted = unet(
            given["latent"],
            t,
            condition.prompt,
            cross_attention_kwargs=condition.attention,
            down_block_additional_residuals=controls[0],
            mid_block_additional_residual=controls[1],
        ).sample
        torch.testing.assert_close(predicted, given[f"{case}.{name}"], atol=5e-5, rtol=0)


def test_recorded_networks_are_converted_without_rest():
    assert (recorded().missing, recorded().unknown) == ((), ())
    assert sorted(recorded().dropped)[:3] == ["tagger/fc.weight", "tagger/label_embed", "tagger/tag_encoder.x"]
    assert len(recorded().dropped) == 3 + 4


def test_every_name_of_the_full_networks_is_used():
    converted = convert({f"{network}/{name}": one for network in COUNTS for name, one in listed(network).items()})
    assert converted.unknown == ()
    assert all(name.startswith("tagger/") for name in converted.missing)
    for network, attention in (("unet", "attention"), ("controlnet", "control_attention")):
        both = [*converted.parts[network].values(), *converted.parts[attention].values()]
        assert (len(both), sum(tensor.numel() for tensor in both)) == COUNTS[network]
    added = sum(tensor.numel() for tensor in converted.parts["attention"].values())
    assert added == 260_849_600


def test_files_that_are_absent_are_named():
    state = {f"unet/file/{name}": one for name, one in listed("unet").items()}
    state["model.diffusion_model.a"] = torch.zeros(1)
    with pytest.raises(ModelError) as raised:
        check_complete(convert(state), Path("folder"))
    assert "holds unknown tensors: model.diffusion_model.a; it lacks tensors: controlnet/conv_in" in str(raised.value)
    assert "it has unet/ of the published files, not controlnet/, ram_swin_large_14m.pth, DAPE.pth;" in str(
        raised.value
    )
    with pytest.raises(ModelError, match=r"it has none of the published files unet/, controlnet/, ram_swin_large_14m"):
        check_complete(convert({"a": torch.zeros(1)}), Path("folder"))


def test_full_networks_have_the_published_shapes():
    from sdsr.prior.shapes import UNET

    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        controlnet = photo_control(unet)
        parts = {"unet": (unet, ImageAttention(unet)), "controlnet": (controlnet, ImageAttention(controlnet))}
    for network, modules in parts.items():
        ours = {name: tensor.shape for module in modules for name, tensor in module.state_dict().items()}
        assert ours == {name: tensor.shape for name, tensor in listed(network).items()}


def test_dapes_updates_reach_queries_and_values_alone(rng):
    state = published_tagger(rng)
    part = convert(state, layout=NARROW, widths=WIDTHS, swin=SWIN).parts["tagger"]
    SwinTagger(swin=SWIN).load_state_dict(part)
    name = "visual_encoder.layers.1.blocks.0.attn.qkv"
    weight, first, second = (
        state[one] for one in (f"ram/model.{name}.weight", f"DAPE/params.{name}.lora_A", f"DAPE/params.{name}.lora_B")
    )
    width = weight.shape[1]
    ours = {layer: part[f"visual_encoder.encoder.layers.1.blocks.0.attention.{layer}_proj.weight"] for layer in "qkv"}
    updates = {"q": second[:width] @ first[:RANK] / RANK, "k": 0, "v": second[width:] @ first[RANK:] / RANK}
    for place, layer in enumerate("qkv"):
        plain = weight[place * width : (place + 1) * width]
        torch.testing.assert_close(ours[layer], plain + updates[layer])
    assert torch.equal(merged(weight, first, torch.zeros_like(second)), weight)


def test_what_is_absent_or_unknown_is_named(rng):
    unet = {f"unet/{name}": one for name, one in listed("unet").items()}
    del unet["unet/conv_in.bias"]
    converted = convert(unet | {"unet/conv_mid.bias": torch.zeros(1), "notes/weight": torch.zeros(1)})
    assert converted.unknown == ("notes/weight", "unet/conv_mid.bias")
    assert converted.missing[0] == "unet/conv_in.bias"
    assert "controlnet/conv_in.bias" in converted.missing
    assert "tagger/image_proj.weight" in converted.missing


def test_the_command_makes_a_folder_that_restores_of_all_files(tmp_path, rng, monkeypatch):
    """All names of the full model, on tiny tensors."""
    named = PUBLISHED["addsr"]
    unshaped = replace(named, convert=lambda state: replace(named.convert(state), shapes={}))
    monkeypatch.setitem(PUBLISHED, "addsr", unshaped)
    theirs = tmp_path / "theirs"
    for network in COUNTS:
        (theirs / network).mkdir(parents=True)
        tensors = {name: torch.rand(least(one.shape, "meta"), generator=rng) for name, one in listed(network).items()}
        save_file(tensors, theirs / network / "diffusion_pytorch_model.safetensors")
    ram = published_tagger(rng, swin=SWIN_LARGE, device="meta")
    torch.save({"model": {name.removeprefix("ram/model."): one for name, one in ram.items()}}, theirs / "ram.pth")
    prior_folder(tmp_path / "prior")
    arguments = ["convert", "addsr", theirs, "--to", tmp_path / "ours", "--prior", tmp_path / "prior", "--json"]
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    report = json.loads(done.output)
    assert (report["unknown"], report["missing"]) == ([], [])
    assert report["used"] == report["tensors"] - 3
    assert {name for name, part in report["parts"].items() if not part["kept"]} == {"unet"}
    prior = shape_prior("sd-2-base", image_encoder=False)
    with torch.device("meta"):
        wanted = ADDSR_METHOD.build(prior).parts.modules
    for name, module in wanted.items():
        assert load_file(tmp_path / "ours" / f"{name}.safetensors").keys() == module.state_dict().keys()
    assert read_description(tmp_path / "ours")["recipe"] == "addsr"


def test_a_folder_of_published_files_is_read_as_one(tmp_path):
    (tmp_path / "unet").mkdir()
    save_file({"up_blocks.0.weight": torch.ones(1)}, tmp_path / "unet" / "weights.safetensors")
    torch.save({"params": {"visual_encoder.norm.weight": torch.ones(2)}, "iter": 7}, tmp_path / "DAPE.pth")
    held = read_checkpoint(tmp_path)
    assert sorted(held.tensors) == ["DAPE/visual_encoder.norm.weight", "unet/weights/up_blocks.0.weight"]
    assert held.others == {"DAPE/iter": 7}
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty\) holds no weight files"):
        read_checkpoint(tmp_path / "empty")
